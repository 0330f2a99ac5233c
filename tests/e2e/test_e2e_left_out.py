"""What is left out is told when it is new; the mode and missing essentials are told each time."""

from pathlib import Path

import orjson
import pytest

from tests.e2e.installation import Installation, cluster
from tests.words import address, document, group, rule

ALLOW = rule(
    "in", from_=["web"], to=["web"], source=["any"], destination=["any"],
    application=["any"], service=["any"], action="allow",
)  # fmt: skip
BY_USER = rule(
    "users", from_=["web"], to=["web"], source=["any"], destination=["any"],
    source_user=["alice"], application=["any"], service=["any"], action="deny",
)  # fmt: skip
ESSENTIALS = [
    {"direction": "egress", "on": "all()", "pods": "k8s-app == 'kube-dns'", "ports": ["53/udp"]},
    {"direction": "egress", "on": "all()", "cidrs": ["192.0.2.1/32"], "ports": ["6443/tcp"]},
]

SMALLER = "1 rule and 1 address group written smaller"


def export(place: Installation, *words: object) -> None:
    place.export(
        document(groups={"dg-eu": [address("a", "10.1.0.1/32"), group("web", "a", "gone"), *words]})  # type: ignore[list-item] # words
    )


@pytest.fixture
def one(place: Installation) -> Installation:
    place.configure(cluster("eu"), zones={"essentials": ESSENTIALS})
    export(place, ALLOW)
    return place


def first(place: Installation, *arguments: str) -> str:
    return place.done("plan", *arguments).out.splitlines()[0]


def test_a_sync_tells_it_once(one: Installation) -> None:
    assert first(one).endswith(f"; {SMALLER}.")
    assert "Written smaller than the firewall has it (2; 1 rule: see" in one.done("sync").out
    again = one.done("sync").out
    assert again.splitlines()[0].endswith(f"; {SMALLER} (none new).")
    assert "address group '" not in again
    export(one, ALLOW, BY_USER)
    planned = one.done("plan").out
    assert planned.splitlines()[0].endswith(f"; {SMALLER}, 1 deny widened (1 new).")
    assert "rule 'users' of device group 'dg-eu': " in planned
    assert "address group '" not in planned
    # A plan does not make it old, and a sync does.
    assert first(one) == planned.splitlines()[0]
    one.done("sync")
    assert "(none new)" in first(one)
    # In JSON everything stands each time.
    [found] = one.done("plan", "--output", "json").json["clusters"]
    assert [each["new"] for each in found["plan"]["left_out"]] == [False, False]
    assert {each["kind"] for each in found["plan"]["rules"]} == {"smaller", "wider"}


def test_a_blocked_sync_does_not_make_it_old(one: Installation) -> None:
    theirs = {"kind": "Tier", "metadata": {"name": "firewallpolicy"}}
    one.put("eu", theirs | {"apiVersion": "projectcalico.org/v3"})
    for _ in range(2):
        blocked = one.run("sync")
        assert blocked.code == 3
        assert "Written smaller than the firewall has it (2; 1 rule: see" in blocked.out


def test_an_earlier_plan_is_what_to_compare_with_where_no_store_is(one: Installation) -> None:
    file = one.directory / "before.json"
    file.write_text(one.done("plan", "--output", "json").out)
    export(one, ALLOW, BY_USER)
    compared = one.done("plan", "--from", file.name)
    assert compared.out.splitlines()[0].endswith("1 deny widened (1 new).")
    assert "address group '" not in compared.out
    # The plan itself is that against the cluster.
    assert "to create" in compared.out
    [eu] = orjson.loads(file.read_bytes())["clusters"]
    file.write_bytes(orjson.dumps({"clusters": [{**eu, "cluster": "other"}]}))
    assert "(3 new)" in first(one, "--from", file.name)


@pytest.mark.parametrize("text", ["{}", "{", '{"clusters": [{"cluster": "eu", "plan": {}}]}'])
def test_json_that_is_no_plan_is_refused(one: Installation, text: str) -> None:
    Path(one.directory, "before.json").write_text(text)
    refused = one.run("plan", "--from", "before.json")
    assert refused.code == 64
    assert "is JSON and no plan" in refused.err


def test_an_earlier_plan_that_is_missing_or_empty_is_named(one: Installation) -> None:
    missing = one.run("plan", "--from", "plan.json")
    assert missing.code == 64
    assert "--from plan.json cannot be read (No such file or directory)" in missing.err
    (one.directory / "plan.json").write_text("")
    empty = one.run("plan", "--from", "plan.json")
    assert empty.code == 64
    assert (
        "--from plan.json is empty; name a plan that `zonebridge plan --output json`" in empty.err
    )


def test_two_exports_tell_what_is_new_between_them(one: Installation) -> None:
    old = one.directory / "old.xml"
    (one.directory / "panorama.xml").rename(old)
    export(one, ALLOW, BY_USER)
    compared = one.done("plan", "--from", old.name, "--to", "panorama.xml").out
    assert compared.splitlines()[0].endswith(f"; {SMALLER}, 1 deny widened (1 new).")


# --- enforced means it ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["plan", "sync", "config check"])
def test_enforced_zones_without_essentials_are_warned_of(place: Installation, command: str) -> None:
    export(place, ALLOW)
    warning = "cluster eu: the zones of tier firewallpolicy are ENFORCED, and no essential lets "

    def said() -> str:
        done = place.done(*command.split())
        return done.out + done.err

    place.configure(cluster("eu"))
    assert f"{warning}their pods reach cluster DNS (53/udp) or the API server;" in said()
    place.configure(cluster("eu"), zones={"essentials": ESSENTIALS[:1]})
    assert f"{warning}their pods reach the API server;" in said()
    place.configure(cluster("eu"), zones={"essentials": ESSENTIALS[1:]})
    assert f"{warning}their pods reach cluster DNS (53/udp);" in said()
    place.configure(cluster("eu"), zones={"essentials": ESSENTIALS})
    assert "no essential lets" not in said()
    staged = [{"name": "dg-eu", "mode": "staged"}]
    place.configure(cluster("eu", device_groups=staged))
    assert "no essential lets" not in said()
    # Nor is anyone cut off where there are no zones; that all rules are gone is another question.
    export(place)
    place.configure(cluster("eu"))
    done = place.run(*command.split())
    # Only a sync wrote some before.
    assert ("! empty-source: device group dg-eu held rules" in done.out) is (command == "sync")
    assert "no essential lets" not in done.out + done.err
