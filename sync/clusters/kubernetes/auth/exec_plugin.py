"""Credentials from an exec plugin: a program that a kubeconfig names to fetch them.

Input and output follow Kubernetes' own contract, in "client-go credential plugins" of
https://kubernetes.io/docs/reference/access-authn-authz/authentication/ and
https://kubernetes.io/docs/reference/config-api/client-authentication.v1/.
The official client's runner has no time limit, and only logs a failure.
"""

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from sync.errors import ClusterError
from sync.redaction import redact

_OURS = "ZONEBRIDGE_"
_MAX_OUTPUT = 1024 * 1024
_KEPT_ERRORS = 4096  # bytes from the end of stderr
_EARLY_SECONDS = 30
_LEAST_SECONDS = 10
_WITHOUT_EXPIRY_SECONDS = 60  # for which credentials without an expiry are used


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials of a client: a token, a certificate with its key in PEM, or neither.

    They are fetched again from `renew_at` on (`time.monotonic()`); None: only once the API server
    refuses them.
    """

    token: str | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    renew_at: float | None = None


class _Part(BaseModel):
    """A mapping with keys as Kubernetes spells them; unknown keys are ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, hide_input_in_errors=True, alias_generator=to_camel
    )


class Variable(_Part):
    """An environment variable for a plugin."""

    name: str
    value: str


class Plugin(_Part):
    """The `exec` of a kubeconfig's user."""

    command: str
    api_version: Literal["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]
    args: list[str] | None = None
    env: list[Variable] | None = None
    interactive_mode: Literal["Never", "IfAvailable", "Always"] | None = None
    provide_cluster_info: bool | None = None


class _Status(_Part):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: AwareDatetime | None = None


class _Answer(_Part):
    api_version: str
    kind: Literal["ExecCredential"]
    status: _Status


def first_problem(error: ValidationError) -> str:
    """Describe the first problem and its place, without any value of the input."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    text = first["msg"]
    return f"{place.removeprefix('.')}: {text}" if place else text


def ask(
    plugin: Plugin, folder: Path, cluster: Mapping[str, object] | None, timeout: timedelta
) -> Credentials:
    """Run a plugin and return what it answers.

    A command with a slash is relative to `folder`; any other is looked up in our own `PATH`.
    The plugin receives `cluster` if given. It gets no input and no terminal, and our environment
    without the variables that may hold secrets of ours. After `timeout` its whole process group is
    killed. Raises `ClusterError`, whose message holds nothing that the plugin printed; the last
    line of its stderr is logged.
    """
    named = plugin.command
    if plugin.interactive_mode == "Always":
        raise ClusterError(
            f"exec plugin {named} needs a terminal (interactiveMode: Always), and there is none; "
            "use a plugin, or options of this one, that works without"
        )
    # Not Popen's own search, which uses the PATH that the kubeconfig may set.
    command = shutil.which(str(folder / named) if "/" in named else named)
    if command is None:
        where = f"at {folder / named}" if "/" in named else "in PATH"
        raise ClusterError(f"there is no program {where} for exec plugin {named}; install it")
    spec: dict[str, object] = {"interactive": False}
    if cluster is not None:
        spec["cluster"] = cluster
    request = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    try:
        info = json.dumps(request, allow_nan=False)
    except (TypeError, ValueError):
        raise ClusterError(
            f"the cluster's extension for exec plugin {named} has no JSON form; correct it"
        ) from None
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
        **{variable.name: variable.value for variable in plugin.env or ()},
        "KUBERNETES_EXEC_INFO": info,
    }
    answer = _run(named, [command, *(plugin.args or ())], environment, timeout.total_seconds())
    return _credentials(plugin, answer)


def _credentials(plugin: Plugin, output: bytes) -> Credentials:
    try:
        answer = _Answer.model_validate_json(output)
    except ValidationError as error:
        raise ClusterError(
            f"exec plugin {plugin.command} did not answer with an ExecCredential "
            f"({first_problem(error)}); run it by hand to see its output"
        ) from None
    status = answer.status
    if answer.api_version != plugin.api_version:
        raise ClusterError(
            f"exec plugin {plugin.command} does not answer in the asked {plugin.api_version}; "
            "set apiVersion in the kubeconfig to what it speaks"
        )
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise ClusterError(
            f"exec plugin {plugin.command} answered with only one of clientCertificateData and "
            "clientKeyData, which need one another; update the plugin"
        )
    if not (status.token or status.client_key_data):
        raise ClusterError(
            f"exec plugin {plugin.command} answered without credentials; log in to what it asks"
        )
    certificate = None
    if status.client_certificate_data:
        certificate = f"{status.client_certificate_data}\n{status.client_key_data}".encode()
    renew_at = time.monotonic() + _WITHOUT_EXPIRY_SECONDS
    if status.expiration_timestamp:
        left = (status.expiration_timestamp - datetime.now(UTC)).total_seconds()
        # A plugin whose clock differs from ours must not run before every single request.
        renew_at = time.monotonic() + max(left - _EARLY_SECONDS, _LEAST_SECONDS)
    return Credentials(status.token or None, certificate, renew_at)


def _run(named: str, command: list[str], environment: Mapping[str, str], seconds: float) -> bytes:
    """Return the stdout of a command that must succeed within so many seconds."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the configuration names it
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ClusterError(f"cannot run exec plugin {named}: {error.strerror}") from None
    except ValueError:
        raise ClusterError(
            f"cannot run exec plugin {named}: its args or env hold what no command line can; "
            "correct them"
        ) from None
    with process:
        try:
            output, errors = _outputs(named, process, time.monotonic() + seconds)
        except TimeoutError:
            _kill(process)
            raise ClusterError(
                f"exec plugin {named} did not end within {seconds:g} s and was killed; run it by "
                "hand to see what it waits for, or raise clusters[].exec_timeout"
            ) from None
        except BaseException:
            _kill(process)
            raise
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines() or ["it writes nothing"]
        said = redact(lines[-1])
        # Not in the error, which the audit trail keeps permanently: some plugins print a password.
        structlog.get_logger().warning("exec plugin failed", plugin=named, said=said)
        raise ClusterError(
            f"exec plugin {named} failed with {process.returncode}, and the log has what it said; "
            "run it by hand, as the user and with the environment of zonebridge"
        )
    return output


def _outputs(named: str, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """The whole stdout and the end of stderr; `TimeoutError` if the process does not end."""
    assert process.stdout
    assert process.stderr
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ, output)
        pipes.register(process.stderr, selectors.EVENT_READ, errors)
        while pipes.get_map():
            if time.monotonic() >= deadline:
                raise TimeoutError
            for pipe, _ in pipes.select(deadline - time.monotonic()):
                part = os.read(pipe.fd, 65_536)
                pipe.data.extend(part)
                if not part:
                    pipes.unregister(pipe.fileobj)
            del errors[:-_KEPT_ERRORS]
            if len(output) > _MAX_OUTPUT:
                raise ClusterError(
                    f"exec plugin {named} wrote more than {_MAX_OUTPUT} bytes and was killed; "
                    "name one that writes an ExecCredential"
                )
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(output), bytes(errors)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
