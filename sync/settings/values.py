"""The types of values in a configuration: each with its check and its JSON Schema.

Every check raises `ValueError` with what the value must be; none quotes the value, which may be a
secret in the wrong place.
"""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
)
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# Pydantic passes no context through the constructor of settings, so the directory of relative
# paths is passed by a context variable.
_directory: ContextVar[Path] = ContextVar("directory", default=Path())


@contextmanager
def relative_to(directory: Path) -> Iterator[None]:
    """Within the block, relative paths in settings are relative to `directory`."""
    token = _directory.set(directory)
    try:
        yield
    finally:
        _directory.reset(token)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")  # noqa: TRY004 - pydantic lists ValueErrors
    if not value:
        raise ValueError("must not be empty; give it a value or remove the key")
    if not value.isprintable():
        raise ValueError("holds a control character; remove it")
    return value


Text = Annotated[str, PlainValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
"""Text of at least one character, none of them a control character."""


def _name(value: str) -> str:
    if len(value) > 63 or value.startswith(".") or "/" in value or "\\" in value:
        raise ValueError("must be at most 63 characters without / and \\, and not start with a dot")
    return value


Name = Annotated[Text, AfterValidator(_name)]
"""The name of a source or a cluster; it may become part of a path."""


def _cluster_name(value: str) -> str:
    if value == "_service":
        raise ValueError("_service is the service's own audit chain; choose another name")
    return value


ClusterName = Annotated[Name, AfterValidator(_cluster_name)]
"""A `Name` which is also the name of the cluster's audit chain."""


_LABEL_VALUE = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
TIERS_OF_CALICO = {
    "default",
    "kube-admin",
    "kube-baseline",
    "adminnetworkpolicy",
    "baselineadminnetworkpolicy",
}


def _label_value(value: str) -> str:
    if not re.fullmatch(_LABEL_VALUE, value):
        raise ValueError(
            "must be a label value: at most 63 of letters, digits, - _ and ., "
            "a letter or digit at both ends"
        )
    return value


def _label_key(value: str) -> str:
    prefix, slash, name = value.rpartition("/")
    prefixed = re.fullmatch(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", prefix) and len(prefix) <= 253
    if not re.fullmatch(_LABEL_VALUE, name) or (slash and not prefixed):
        raise ValueError("must be a label key, such as firewall.tigera.io/zone")
    return value


def _tier(value: str) -> str:
    if not re.fullmatch(_DNS_LABEL, value):
        raise ValueError(
            "must be a DNS label: at most 63 of a-z, 0-9 and -, a letter or digit at both ends"
        )
    if value in TIERS_OF_CALICO:
        raise ValueError(f"{value} is a tier of Calico's own; choose another name")
    return value


LabelValue = Annotated[Text, AfterValidator(_label_value)]
LabelKey = Annotated[Text, AfterValidator(_label_key)]
TierName = Annotated[Text, AfterValidator(_tier)]
"""A tier of ours; its name is also a label value, hence at most 63 characters."""


def _whole(value: object) -> int:
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,18}", value):
        return int(value)  # from the environment, where everything is text
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be a whole number")


Whole = Annotated[int, BeforeValidator(_whole)]

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST = timedelta(days=36_500)  # a date this long ago can still be written


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch("([1-9][0-9]{0,9})([smhd])", value) if isinstance(value, str) else None
    if match:
        seconds = int(match[1]) * _SECONDS[match[2]]
        if seconds <= _LONGEST.total_seconds():
            return timedelta(seconds=seconds)
    raise ValueError("must be a duration, such as 30s, 15m, 1h or 7d (1s to 36500d)")


def write_duration(value: timedelta) -> str:
    """Write a duration as the configuration has it, in its largest whole unit: 15m, not 900s."""
    seconds = round(value.total_seconds())
    unit = next(unit for unit, length in _SECONDS.items() if seconds % length == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


Duration = Annotated[
    timedelta,
    PlainValidator(_duration),
    PlainSerializer(write_duration),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]*[smhd]$"}),
]
"""A whole number of seconds, minutes, hours or days: `30s`, `15m`, `1h`, `7d`."""


def _path(value: str) -> Path:
    return _directory.get() / value


FilePath = Annotated[
    Path,
    PlainValidator(lambda value: _path(_text(value))),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""A path; a relative one starts from the directory of the configuration file."""


def _store_url(value: str) -> str:
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        url = URL.create("unreadable")
    if url.password is not None or any("password" in key.lower() for key in url.query):
        raise ValueError(
            "holds a password; put the password into a file and name it in store.password_file"
        )
    if url.drivername == "postgresql+psycopg":
        return value
    if url.drivername != "sqlite":
        raise ValueError("must be sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ValueError("must name a file, as in sqlite:///zonebridge.db: records must be kept")
    placed = url.set(database=str(_path(url.database)))
    return placed.render_as_string(hide_password=False)  # there is no password to hide


StoreUrl = Annotated[Text, AfterValidator(_store_url)]
"""The store's URL; the file of an SQLite URL may be relative, like any path."""


def _host_and_port(value: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+)):([0-9]{1,5})", value)
    if not match or not 0 < int(match[3]) < 65_536:
        return None
    return match[1] or match[2], int(match[3])


def _bind(value: str) -> str:
    if _host_and_port(value) is None:
        raise ValueError("must be ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return value


def is_loopback(bind: str) -> bool:
    """Return whether only this machine can reach a valid `Bind`."""
    host, _ = _host_and_port(bind) or ("", 0)
    return _is_this_machine(host)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Bind = Annotated[Text, AfterValidator(_bind)]
"""An address and port to listen on: `0.0.0.0:8081`, `[::1]:8080`."""


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        text = _text(value)
        if "%" not in text:  # an IPv6 zone identifier: policies have none
            return ipaddress.ip_network(text)
    except ValueError:
        pass
    raise ValueError("must be a network without host bits, such as 10.0.0.0/8")


Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]


def _port_and_protocol(value: str) -> str:
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?/(?:tcp|udp|sctp)", value)
    if not match:
        raise ValueError("must be PORT/PROTOCOL or FIRST-LAST/PROTOCOL, such as 53/udp")
    first, last = int(match[1]), int(match[2] or 0)
    if max(first, last) > 65_535 or (match[2] and last <= first):
        raise ValueError("must have ports from 1 to 65535, the lower one first")
    return value


PortAndProtocol = Annotated[Text, AfterValidator(_port_and_protocol)]


def _from_environment(value: object) -> SecretStr:
    # Text from the environment is wrapped; bare text was written in the file.
    if not isinstance(value, SecretStr):
        raise ValueError(  # noqa: TRY004 - pydantic lists ValueErrors
            "a secret does not belong in the configuration file; put it into a file of its own "
            "and name that, or set this key in the environment"
        )
    if not value.get_secret_value():
        raise ValueError("must not be empty; set it or unset the variable")
    return value


EnvironmentSecret = Annotated[SecretStr, BeforeValidator(_from_environment)]
"""A secret that only an environment variable may hold."""


def webhook_url(text: str) -> str:
    """Validate the URL of a webhook; `ValueError` if it may not be called.

    Only loopback addresses may be called without TLS.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", 0
    if not (text.isascii() and text.isprintable()) or " " in text or not host or port == 0:
        raise ValueError("must be a URL, such as https://hooks.example.com/services/…")
    if "@" in parts.netloc:
        raise ValueError("holds a user or password; sign with webhook_secret_file instead")
    if parts.fragment:
        raise ValueError("holds a #, which is never sent to a server; remove it and what follows")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise ValueError("must be https, or a loopback address")
    return text


def _webhook_url(value: object) -> SecretStr:
    # A chat's webhook URL is a credential: it lets its holder post.
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return SecretStr(webhook_url(_text(text)))


WebhookUrl = Annotated[
    SecretStr, BeforeValidator(_webhook_url), WithJsonSchema({"type": "string", "minLength": 1})
]
"""A URL that is a secret: it shows as stars."""
