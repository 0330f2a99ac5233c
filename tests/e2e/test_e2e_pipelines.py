"""The recipes of docs/pipelines.md as they stand there, applied to a real API server."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.installation import COMMAND, Installation, environment
from tests.kubernetes_cluster import ControlPlane, program
from tests.kubernetes_words import nets
from tests.postgresql import PASSWORD, Database
from tests.words import address, document, group, rule

DOCUMENT = Path(__file__).parents[2] / "docs" / "pipelines.md"
RECIPES = dict(
    re.findall(
        r"^```(?:yaml|sh)\n# ([^\n]+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
)
ELSEWHERE = ("pip ", "gh ", "curl ")
"""What needs the network or a forge."""

WEB, DB = ["10.1.0.1/32", "10.1.0.2/32"], ["10.2.0.0/24"]
ALLOW = rule(
    "web to db", from_=["web"], to=["db"], source=["web"], destination=["db"], action="allow"
)
# A rulebase that loses its last rule would be asked about.
DENY = rule("rest", from_=["web"], to=["any"], action="deny")


def export(web: list[str], db: list[str] | None) -> bytes:
    words = [*(address(net, net) for net in (*web, *(db or ()))), group("web", *web)]
    words += [group("db", *db), ALLOW] if db is not None else []
    return document(groups={"dg-eu": [*words, DENY]})


def steps(jobs: Mapping[str, Any], job: str) -> list[str]:
    """The commands of a job, GitHub's or GitLab's, that run on any machine."""
    found = jobs[job]
    lines = (
        found["script"] if "script" in found else [each.get("run", "") for each in found["steps"]]
    )
    return [line for line in lines if line and not line.startswith(ELSEWHERE)]


GITHUB = yaml.safe_load(RECIPES[".github/workflows/firewall.yml"])["jobs"]
GITLAB = yaml.safe_load(RECIPES[".gitlab-ci.yml"])


@dataclass(frozen=True, slots=True)
class Forge:
    """A repository, and runners that are thrown away after each job."""

    path: Path
    variables: Mapping[str, str]

    def shell(self, line: str, where: Path) -> str:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", line],
            cwd=where,
            env=environment(**self.variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def runner(self) -> Path:
        place = self.path / "runner"
        shutil.rmtree(place, ignore_errors=True)
        self.shell("git clone --quiet repository runner", self.path)
        return place

    def change(self, data: bytes) -> None:
        place = self.runner()
        (place / "panorama.xml").write_bytes(data)
        self.shell("git commit --quiet --all --message change && git push --quiet", place)

    def run(self, job: str) -> Path:
        place = self.runner()
        for line in steps(GITHUB, job):
            self.shell(line, place)
        return place


def forge_at(path: Path, configuration: str, **variables: str) -> Forge:
    who = {
        f"GIT_{role}_{key}": "a@b.c"
        for role in ("AUTHOR", "COMMITTER")
        for key in ("NAME", "EMAIL")
    }
    kept = environment()
    where = f"{COMMAND.parent}:{Path(program('kubectl')).parent}:{kept['PATH']}"
    made = Forge(path, {**who, **variables, "PATH": where, "HOME": str(path)})
    made.shell("git init --quiet --bare --initial-branch main repository", path)
    place = made.runner()
    (place / "zonebridge.yaml").write_text(configuration)
    (place / "panorama.xml").write_bytes(export(WEB, DB))
    made.shell(RECIPES["setup"], place)
    made.shell("git push --quiet origin HEAD:main", place)
    return made


@pytest.fixture
def forge(tmp_path: Path, calico: ControlPlane) -> Forge:
    return forge_at(tmp_path, RECIPES["zonebridge.yaml"], KUBECONFIG=str(calico.kubeconfig()))


def sets_in(plane: ControlPlane) -> dict[str, list[str]]:
    return {name: found for name, found in nets(plane).items() if name.startswith("pan.")}


def test_a_change_goes_from_a_pull_request_to_the_cluster(
    forge: Forge, calico: ControlPlane
) -> None:
    forge.shell(RECIPES["apply"], forge.runner())
    assert sets_in(calico) == {"pan.web": WEB, "pan.db": DB}
    assert "unchanged" in (again := forge.shell(RECIPES["apply"], forge.runner()))
    assert not re.search("created|configured|pruned", again)

    forge.change(export(WEB[:1], None))
    plan = (forge.run("plan") / "plan.md").read_text()
    assert plan.startswith("## prod\\-eu \\(staged\\)\n")
    assert "BLOCKED" not in plan
    place = forge.run("sync")
    changed = forge.shell("git show --stat --format= HEAD", place)
    assert "pan.db.yaml" in changed
    assert "kustomization.yaml" in changed
    forge.shell(RECIPES["apply"], forge.runner())
    assert sets_in(calico) == {"pan.web": WEB[:1]}

    # Nothing changes, so nothing is committed.
    before = forge.shell("git rev-parse HEAD", forge.runner())
    assert forge.shell("git rev-parse HEAD", forge.run("sync")) == before


def test_kubectl_takes_the_largest_sets(forge: Forge, calico: ControlPlane) -> None:
    """Of one group with 12,000 hosts, whose set in one part would not fit into the annotation."""
    hosts = [f"10.{n >> 15 & 255}.{n >> 7 & 255}.{n * 2 & 255}/32" for n in range(12_000)]
    forge.change(export(hosts, DB))
    forge.run("sync")
    for apply in (
        RECIPES["apply"],
        "kubectl apply --server-side --force-conflicts -k manifests/prod-eu",
    ):
        forge.shell(apply, forge.runner())
        found = [net for name, some in nets(calico).items() if name != "pan.db" for net in some]
        assert sorted(found) == sorted(hosts)


def test_with_postgresql_the_trail_goes_on_from_runner_to_runner(
    tmp_path: Path, postgresql_database: Database
) -> None:
    configuration = yaml.safe_load(RECIPES["zonebridge.yaml"])
    configuration |= yaml.safe_load(RECIPES["with PostgreSQL"])
    assert configuration["store"]["url"].startswith("postgresql+psycopg://")
    configuration["store"]["url"] = postgresql_database.url
    made = forge_at(tmp_path, yaml.safe_dump(configuration), ZONEBRIDGE_STORE__PASSWORD=PASSWORD)
    made.change(export(WEB[:1], DB))
    made.run("sync")
    place = Installation(made.runner())
    assert place.files("manifests/prod-eu") == ["pan.db.yaml", "pan.web.yaml"]
    variables = {"ZONEBRIDGE_STORE__PASSWORD": PASSWORD}
    actions = [
        each["action"] for each in place.records("--group", "web", "--kind", "intent", **variables)
    ]
    assert sorted(actions) == ["create", "update"]
    assert "none new" in place.done("plan", **variables).out
    place.done("audit", "verify", **variables)


def test_the_workflow_has_no_fault_that_actionlint_finds(tmp_path: Path) -> None:
    file = tmp_path / "firewall.yml"
    file.write_text(RECIPES[".github/workflows/firewall.yml"])
    shellcheck = COMMAND.with_name("shellcheck")
    command = [program("actionlint"), f"-shellcheck={shellcheck}", "-pyflakes=", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("job", ["plan", "sync"])
def test_gitlab_runs_what_github_runs(job: str) -> None:
    def commands(jobs: Mapping[str, Any]) -> list[str]:
        lines = [line for step in steps(jobs, job) for line in step.splitlines()]
        # The push names the server there, and its message keeps the pipeline from running again.
        return [line.partition(" --quiet")[0].replace(" [skip ci]", "") for line in lines]

    assert commands(GITLAB) == commands(GITHUB) != []


def test_what_gitops_tools_are_told_names_what_is_there() -> None:
    path = yaml.safe_load(RECIPES["zonebridge.yaml"])["clusters"][0]["path"]
    argo = yaml.safe_load(RECIPES["argocd.yaml"])
    assert (argo["kind"], argo["spec"]["source"]["path"]) == ("Application", path)
    repository, kustomization = yaml.safe_load_all(RECIPES["flux.yaml"])
    assert kustomization["spec"]["sourceRef"]["name"] == repository["metadata"]["name"]
    assert kustomization["spec"]["path"] == f"./{path}"
    assert kustomization["spec"]["prune"] is True
