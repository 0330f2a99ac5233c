"""Requests of a client, and the conditions by which tests select them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

KeyIn = Literal["header", "body", "query", ""]


@dataclass(frozen=True, slots=True)
class Request:
    """A call of the XML API, its parameters taken from the query and the form together.

    `key_in` is where the API key stood: the most public place if there are several. `path` is
    what the request line said, with its query.
    """

    type: str = ""
    action: str = ""
    xpath: str = ""
    cmd: str = ""
    target: str = ""
    key_in: KeyIn = ""
    vsys: str = ""
    method: str = "POST"
    path: str = "/api/"
    key: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    if_none_match: str = ""

    @property
    def is_api(self) -> bool:
        return urlsplit(self.path).path.rstrip("/") == "/api"

    @property
    def external_list(self) -> str:
        """The name of the requested external list; empty if none is."""
        path = unquote(urlsplit(self.path).path)
        return path.removeprefix(_LISTS) if path.startswith(_LISTS) else ""


When = Callable[[Request], bool]

_LISTS = "/edl/"


def read_request(method: str, path: str, headers: Message, body: bytes) -> Request:
    """A request from its parts."""
    header_key = headers["X-PAN-KEY"]
    query = dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    both = query | form
    key_in: KeyIn = ""
    if "key" in query:
        key_in = "query"
    elif "key" in form:
        key_in = "body"
    elif header_key is not None:
        key_in = "header"
    return Request(
        type=both.get("type", ""),
        action=both.get("action", ""),
        xpath=both.get("xpath", ""),
        cmd=both.get("cmd", ""),
        target=both.get("target", ""),
        vsys=both.get("vsys", ""),
        key_in=key_in,
        method=method,
        path=path,
        key=both.get("key", header_key or ""),
        user=both.get("user", ""),
        password=both.get("password", ""),
        if_none_match=headers["If-None-Match"] or "",
    )


def every(request: Request) -> bool:
    """Every request."""
    return True


def keygen(request: Request) -> bool:
    """Requests for a key."""
    return request.type == "keygen"


def reads(part: str = "", action: str = "") -> When:
    """Reads of the configuration whose xpath holds `part`; `show` or `get` alone with `action`."""
    return lambda request: (
        request.type == "config" and part in request.xpath and action in ("", request.action)
    )


def of(serial: str) -> When:
    """Operational commands to a firewall."""
    return lambda request: request.type == "op" and request.target == serial


def op(part: str = "") -> When:
    """Operational commands that hold `part`, such as `<audit>`."""
    return lambda request: request.type == "op" and part in request.cmd


def edl(name: str = "") -> When:
    """Requests for the external list of that name, for any without."""
    return lambda request: request.external_list != "" and name in ("", request.external_list)
