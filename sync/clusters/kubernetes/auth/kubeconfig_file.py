"""Read a kubeconfig file: the chosen context, its cluster and its user.

A pod's service account is read as an equivalent kubeconfig.
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from collections.abc import Sequence
from os import environ
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sync import yaml_documents
from sync.clusters.kubernetes.auth.exec_plugin import Plugin, first_problem
from sync.errors import ClusterError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The directory of a pod's credentials."""

_MAX_BYTES = 1024 * 1024
_MOST_NAMED = 10
_Model = TypeVar("_Model", bound=BaseModel)


class _Part(BaseModel):
    """A mapping in a kubeconfig; unknown keys are ignored, as by kubectl."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )


class Kubeconfig(_Part):
    current_context: str | None = None
    contexts: list[dict[Any, Any]] | None = None
    clusters: list[dict[Any, Any]] | None = None
    users: list[dict[Any, Any]] | None = None


class Context(_Part):
    cluster: str
    user: str | None = None


class Extension(_Part):
    name: str
    extension: Any = None


class Cluster(_Part):
    server: str
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    extensions: list[Extension] | None = None


class User(_Part):
    token: str | None = None
    token_file: str | None = Field(default=None, alias="tokenFile")
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    plugin: Plugin | None = Field(default=None, alias="exec")
    username: str | None = None
    password: str | None = None
    auth_provider: Any = None
    impersonated: str | None = Field(default=None, alias="as")
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


def read_kubeconfig(path: Path) -> Kubeconfig:
    """Read the file; `ClusterError`."""
    data = read_file(path, "clusters[].kubeconfig")
    try:
        document = yaml_documents.load(data, "kubernetes")
    except yaml_documents.RefusedYamlError as error:
        where = f"is not one YAML document (line {error.line}): " if error.line else ""
        raise ClusterError(f"{where}{error.problem}") from None
    return _validated(Kubeconfig, document, "")


def chosen(kubeconfig: Kubeconfig, context: str | None) -> tuple[Cluster, User]:
    """The cluster and the user of a context, or of the current one."""
    name = context or kubeconfig.current_context
    if not name:
        raise ClusterError(
            "has no current-context; set clusters[].context to one of its contexts: "
            f"{_names(kubeconfig.contexts)}"
        )
    found = _entry(Context, kubeconfig.contexts, "context", name, "correct clusters[].context")
    remedy = f"correct context {name}"
    cluster = _entry(Cluster, kubeconfig.clusters, "cluster", found.cluster, remedy)
    if not found.user:
        return cluster, User()
    return cluster, _entry(User, kubeconfig.users, "user", found.user, remedy)


def _entry(
    model: type[_Model],
    entries: Sequence[dict[Any, Any]] | None,
    kind: str,
    name: str,
    remedy: str,
) -> _Model:
    found = [entry.get(kind) for entry in entries or () if entry.get("name") == name]
    if not found:
        known = _names(entries)
        raise ClusterError(f"has no {kind} {name}, only {known}; {remedy}, or the file")
    if len(found) > 1:
        raise ClusterError(f"has more than one {kind} {name}; remove all but one")
    return _validated(model, {} if found[0] is None else found[0], f"{kind}s[{name}].{kind}")


def _names(entries: Sequence[dict[Any, Any]] | None) -> str:
    names = sorted(entry["name"] for entry in entries or () if isinstance(entry.get("name"), str))
    more = ["…"] if len(names) > _MOST_NAMED else []
    return ", ".join(names[:_MOST_NAMED] + more) or "none"


def _validated(model: type[_Model], value: object, place: str) -> _Model:
    if not place and not isinstance(value, dict):
        raise ClusterError("it is no kubeconfig; correct the file")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problem = first_problem(error)
        raise ClusterError(f"{f'{place}: ' if place else ''}{problem}; correct the file") from None


def service_account(directory: Path) -> tuple[Cluster, User]:
    """Read the credentials that Kubernetes gives to every pod.

    https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """
    host = environ.get("KUBERNETES_SERVICE_HOST")
    port = environ.get("KUBERNETES_SERVICE_PORT")
    token = directory / "token"
    if not (host and port and token.is_file()):
        raise ClusterError(
            "there is none here; name clusters[].kubeconfig, or run in a pod with "
            "automountServiceAccountToken"
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    authority = str(directory / "ca.crt")
    cluster = Cluster.model_validate({"server": server, "certificate-authority": authority})
    return cluster, User.model_validate({"tokenFile": str(token)})


def read_file(path: Path, key: str) -> bytes:
    """Read a file that `key` names, within limits; `ClusterError`."""
    try:
        # Not a pipe or device, which might never end.
        if not path.is_file():
            raise ClusterError(f"there is no file {path}; correct {key}")
        with path.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {error.strerror}; make it readable, or correct {key}"
        ) from error
    except ValueError:
        raise ClusterError(f"{key} is not a valid file name; correct it") from None
    if len(data) > _MAX_BYTES:
        raise ClusterError(f"{path} is larger than {_MAX_BYTES} bytes; correct {key}")
    return data
