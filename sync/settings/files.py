"""The files that the settings name: read secrets, and check all files for `config check`."""

import os
import stat
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import make_url

from sync.errors import UsageError
from sync.settings.models import Settings, Source, Store
from sync.settings.problems import Place, Problem
from sync.settings.values import webhook_url

_LONGEST_SECRET = 64 * 1024  # bytes
_SHORTEST_KEY, _LONGEST_KEY = 24, 64  # bytes of a key that calls are signed with


def read_secret(file: Path, key: str = "its path") -> SecretStr:
    """Return the text of a secret file without its last line break; `UsageError` if unusable.

    `key` is the setting that names the file.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(_LONGEST_SECRET + 1)
    except FileNotFoundError:
        raise UsageError(
            f"The secret file {file} does not exist; create it, or correct {key}."
        ) from None
    except IsADirectoryError:
        raise UsageError(
            f"The secret file {file} is a directory; name a file in it: correct {key}."
        ) from None
    except OSError as error:
        raise UsageError(
            f"The secret file {file} cannot be read: {error.strerror}; correct its rights, or "
            f"{key}."
        ) from None
    if len(content) > _LONGEST_SECRET:
        raise UsageError(f"The secret file {file} is larger than 64 KiB; it is not a secret.")
    try:
        secret = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        # The decoder's message would quote a byte of the secret.
        raise UsageError(f"The secret file {file} is not UTF-8; save it as UTF-8.") from None
    if not secret:
        raise UsageError(f"The secret file {file} is empty; write the secret into it.")
    return SecretStr(secret)


def store_password(store: Store) -> SecretStr | None:
    """Return the password for `store.url`, from the environment or its file; None: not needed."""
    if store.password or not store.password_file:
        return store.password
    return read_secret(store.password_file, "store.password_file")


def api_key(source: Source) -> SecretStr | None:
    """Return the API key of a Panorama, likewise; None: it is generated for a user."""
    if source.api_key or not source.api_key_file:
        return source.api_key
    return read_secret(source.api_key_file, f"api_key_file of source {source.name}")


def panorama_password(source: Source) -> SecretStr | None:
    """Return the password of a Panorama's user, likewise."""
    if source.password or not source.password_file:
        return source.password
    return read_secret(source.password_file, f"password_file of source {source.name}")


def authority(source: Source) -> bytes | None:
    """Return the authorities of a Panorama's certificate in PEM; None: the system's."""
    if source.ca_file is None:
        return None
    try:
        return source.ca_file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The file {source.ca_file} (ca_file of source {source.name}) cannot be read: "
            f"{error.strerror}; create it, or correct ca_file."
        ) from None


def webhook(settings: Settings) -> str | None:
    """Return the current URL of the webhook; None: there is none. Raises `UsageError`."""
    if settings.webhook:
        return settings.webhook.get_secret_value()
    if not settings.webhook_url_file:
        return None
    try:
        url = read_secret(settings.webhook_url_file, "webhook_url_file")
        return webhook_url(url.get_secret_value())
    except ValueError as error:
        raise UsageError(f"What {settings.webhook_url_file} holds {error}.") from None


def webhook_secret(settings: Settings) -> bytes | None:
    """Return the current key to sign calls with; None: unsigned. Raises `UsageError`.

    Its format is that of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec:
    `whsec_` and 24 to 64 bytes in base64.
    """
    if not settings.webhook_secret_file:
        return None
    secret = read_secret(settings.webhook_secret_file, "webhook_secret_file")
    prefix, _, encoded = secret.get_secret_value().partition("whsec_")
    try:
        key = b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if prefix or not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise UsageError(
            f"The secret file {settings.webhook_secret_file} must hold whsec_ and 24 to 64 bytes "
            'in base64: echo "whsec_$(openssl rand -base64 32)".'
        )
    return key


def webhook_authority(settings: Settings) -> bytes | None:
    """Return the authorities of the webhook's certificate in PEM; None: the system's."""
    if settings.webhook_ca_file is None:
        return None
    try:
        return settings.webhook_ca_file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The file {settings.webhook_ca_file} (webhook_ca_file) cannot be read: "
            f"{error.strerror}; create it, or correct webhook_ca_file."
        ) from None


def check_files(settings: Settings) -> tuple[list[Problem], list[str]]:
    """Check the named files; return problems that stop a command, and warnings.

    Writes nothing and keeps no secret.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    for i, source in enumerate(settings.sources):
        _check_source(i, source, problems, warnings)
    for i, cluster in enumerate(settings.clusters):
        if cluster.kubeconfig:
            if os.access(cluster.kubeconfig, os.R_OK) and cluster.kubeconfig.is_file():
                warnings += _open_to_all(f"clusters[{i}].kubeconfig", cluster.kubeconfig)
            else:
                text = f"{cluster.kubeconfig} is not a readable file; correct the path"
                problems.append(Problem(("clusters", i, "kubeconfig"), text))
        if cluster.insecure_skip_tls_verify:
            warnings.append(
                f"clusters[{i}].insecure_skip_tls_verify: anyone on the way to the cluster can "
                "read its credentials and answer in its place; give the kubeconfig its authority"
            )
        # The directory itself may not exist yet.
        path = cluster.path
        while path and not _exists(path):
            path = path.parent
        if path and not _writable_directory(path):
            text = f"{path} is not a writable directory; create it or correct the path"
            problems.append(Problem(("clusters", i, "path"), text))
    url = make_url(settings.store.url)
    if url.drivername == "sqlite" and not _writable_file(Path(url.database or "")):
        text = f"{url.database} cannot be written; create its directory or make it writable"
        problems.append(Problem(("store", "url"), text))
    head_file = settings.audit.head_file
    if head_file and not _writable_file(head_file):
        text = f"{head_file} cannot be written; create its directory or make it writable"
        problems.append(Problem(("audit", "head_file"), text))
    _check_webhook(settings, problems, warnings)
    if settings.store.password_file and not settings.store.password:
        found = _secret_problems(("store", "password_file"), settings.store.password_file)
        problems += found
        if not found:
            warnings += _open_to_all("store.password_file", settings.store.password_file)
    return problems, warnings


def _check_webhook(settings: Settings, problems: list[Problem], warnings: list[str]) -> None:
    uses: dict[str, Callable[[Settings], object]] = {
        "webhook_url_file": webhook,
        "webhook_secret_file": webhook_secret,
        "webhook_ca_file": webhook_authority,
    }
    for key, use in uses.items():
        file: Path | None = getattr(settings, key)
        if file is None:
            continue
        try:
            use(settings)
        except UsageError as error:
            problems.append(Problem((key,), str(error)))
        else:
            warnings += [] if key == "webhook_ca_file" else _open_to_all(key, file)


def _check_source(i: int, source: Source, problems: list[Problem], warnings: list[str]) -> None:
    if source.path and not (os.access(source.path, os.R_OK) and source.path.is_file()):
        text = f"{source.path} is not a readable file; correct the path"
        problems.append(Problem(("sources", i, "path"), text))
    if source.ca_file:
        try:
            authority(source)
        except UsageError as error:
            problems.append(Problem(("sources", i, "ca_file"), str(error)))
    if not source.verify_tls:
        warnings.append(
            f"sources[{i}].verify_tls: anyone on the way to Panorama can read its API "
            "key and answer in its place; name the authority of its certificate in ca_file"
        )
    for key, file in _secret_files(source):
        found = _secret_problems(("sources", i, key), file)
        problems += found
        if not found:
            warnings += _open_to_all(f"sources[{i}].{key}", file)


def _secret_files(source: Source) -> list[tuple[str, Path]]:
    """Return the secret files in use: a key takes precedence over a password."""
    if source.api_key_file and not source.api_key:
        return [("api_key_file", source.api_key_file)]
    if source.password_file and not (source.password or source.api_key):
        return [("password_file", source.password_file)]
    return []


def _secret_problems(place: Place, file: Path) -> list[Problem]:
    try:
        read_secret(file)
    except UsageError as error:
        return [Problem(place, str(error))]
    return []


def _writable_directory(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK) and path.is_dir()


def _writable_file(path: Path) -> bool:
    """Return whether a file can be written; it need not exist yet."""
    if _exists(path):
        return os.access(path, os.W_OK) and path.is_file()
    return _writable_directory(path.parent)


def _exists(path: Path) -> bool:
    # Path.exists raises if a parent directory may not be entered.
    return os.access(path, os.F_OK)


def _open_to_all(key: str, path: Path) -> list[str]:
    if path.stat().st_mode & stat.S_IROTH:
        return [f"{key}: every user of this machine can read {path}; remove that right"]
    return []
