"""The simulator: a Panorama's XML API over HTTPS on loopback.

authority = Authority.make(directory)
with Panorama(document, authority, users={"reader": "secret"}) as panorama:
    ...  # ask panorama.host, panorama.port with panorama.api_key
    panorama.commit(changed, administrator="alice")
    panorama.fail(reads(), Truncated())
    panorama.lists["bad"] = "192.0.2.0/24\\n"  # at https://HOST:PORT/edl/bad
"""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar
from xml.sax.saxutils import escape

from .authority import Authority
from .configuration import answer_config
from .external_lists import answer_list
from .faults import LOGIN_PAGE, ApiError, Fault
from .operations import answer_complete, answer_op
from .request import Request, When
from .server import HTML, Answer, Exchange, Server
from .state import State

T = TypeVar("T")


@dataclass
class _Due(Generic[T]):
    """An effect on the next so many requests of a kind; on all of them if `times` is None."""

    when: When
    what: T
    times: int | None


class Panorama(State):
    """A Panorama that is served as long as its context lasts; entered again, on the same port.

    `certificate` takes the place of one for `host`. What a test's own calls raise while a request
    is answered is raised again when the context ends.
    """

    def __init__(
        self,
        document: bytes,
        authority: Authority,
        users: Mapping[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        certificate: tuple[Path, Path] | None = None,
        version: int = 52,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(document, version=version, clock=clock)
        self.host = host
        self.port = 0
        self.users = dict(users or {})
        self.api_key = _new_key()
        self.denied_status = 403
        """The HTTP status for a rejected key or password, which no document gives."""
        self.requests: list[Request] = []
        self._certificate = certificate or authority.certificate(host)
        self._server: Server | None = None
        self._faults: list[_Due[Fault]] = []
        self._calls: list[_Due[Callable[[], object]]] = []
        self._errors: list[Exception] = []

    def __enter__(self) -> Self:
        self._server = Server(
            (self.host, self.port), self._certificate, self._handle, self._errors.append
        )
        self.port = self._server.server_port
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.stop()
        if self._errors and error is None:
            raise ExceptionGroup("while requests were answered", self._errors)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}/api/"

    @property
    def in_flight_peak(self) -> int:
        """The highest number of requests that were answered at the same time."""
        return self._server.in_flight_peak if self._server else 0

    @property
    def connections(self) -> int:
        """The number of accepted connections."""
        return self._server.accepted if self._server else 0

    def expire_keys(self) -> None:
        """Reject all keys that were given out so far."""
        self.api_key = _new_key()

    def fail(self, when: When, how: Fault, times: int | None = 1) -> None:
        """Fail the next requests of a kind; all of them if `times` is None."""
        with self.lock:
            self._faults.append(_Due(when, how, times))

    def before(self, when: When, call: Callable[[], object], times: int | None = 1) -> None:
        """Call something right before a request of a kind is answered."""
        with self.lock:
            self._calls.append(_Due(when, call, times))

    def recover(self) -> None:
        """Remove all faults and calls."""
        with self.lock:
            self._faults.clear()
            self._calls.clear()

    def _handle(self, request: Request, exchange: Exchange) -> None:
        with self.lock:
            self.requests.append(request)
            calls = _take(self._calls, request)
            faults = _take(self._faults, request, most=1)
        try:
            for call in calls:
                call()
        except OSError as error:
            # Not one of the client's connection, which would be none of the test's business.
            raise RuntimeError("a call before an answer failed") from error
        if faults:
            faults[0].send(exchange, lambda: self._answer(request))
        else:
            exchange.send(self._answer(request))

    def _answer(self, request: Request) -> Answer:
        if request.external_list:
            return answer_list(self, request)
        if not request.is_api:
            return Answer(LOGIN_PAGE, 200, HTML)
        if request.type == "keygen":
            return self._keygen(request)
        if not secrets.compare_digest(request.key.encode(), self.api_key.encode()):
            return self._denied()
        match request.type:
            case "config":
                return answer_config(self, request.action, request.xpath)
            case "op" if request.action == "complete":
                return answer_complete(self, request.xpath)
            case "op":
                return answer_op(self, request.cmd, request.target, request.vsys)
        return ApiError(f'Illegal value for parameter "type" [{request.type}].', 17, "msg").answer()

    def _keygen(self, request: Request) -> Answer:
        if not request.user or self.users.get(request.user) != request.password:
            return self._denied()
        key = escape(self.api_key)
        return Answer(
            f"<response status = 'success'><result><key>{key}</key></result></response>".encode()
        )

    def _denied(self) -> Answer:
        return ApiError("Invalid Credential", 403, "result", self.denied_status).answer()


def _take(due: list[_Due[T]], request: Request, most: int | None = None) -> list[T]:
    """The effects that are due at this request, in order; counts each of them once."""
    found = [each for each in due if each.when(request)][:most]
    for each in found:
        if each.times is not None:
            each.times -= 1
    due[:] = [each for each in due if each.times != 0]
    return [each.what for each in found]


def _new_key() -> str:
    """A key as PAN-OS makes them: base64 of base64.

    So it never holds `+` or `/`, which pan-python would send as they are.
    """
    inner = b64encode(secrets.token_bytes(20)) + b64encode(secrets.token_bytes(40))
    return b64encode(b"-AQ==" + inner).decode()
