"""Faults between a Panorama and its clients.

`panorama.fail(reads(), Truncated())` answers the next read of the configuration that way.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol
from xml.sax.saxutils import escape, quoteattr

from .server import HTML, XML, Answer, Exchange

LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Login</title></head><body>"
    b"<form method='post' action='/php/login.php'><input name='user'><input name='passwd'>"
    b"</form><br></body></html>\n"
)


class Fault(Protocol):
    """A way to answer other than with `answer()`, the correct response."""

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None: ...


@dataclass(frozen=True, slots=True)
class Body:
    """This body, whatever the request."""

    body: bytes
    status: int = 200
    content_type: str = XML

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(Answer(self.body, self.status, self.content_type))


@dataclass(frozen=True, slots=True)
class Replaced:
    """The correct response with some of its bytes replaced, for example by invalid UTF-8."""

    old: bytes
    new: bytes

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        whole = answer()
        assert self.old in whole.body
        exchange.send(replace(whole, body=whole.body.replace(self.old, self.new)))


@dataclass(frozen=True, slots=True)
class HttpStatus:
    """A status of HTTP with an HTML page: 500, 502, 503, 429, 403 …

    `retry_after` is in seconds, or a date of HTTP.
    """

    status: int
    retry_after: int | str | None = None

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        page = f"<html><body><h1>{self.status}</h1></body></html>".encode()
        headers = () if self.retry_after is None else (("Retry-After", str(self.retry_after)),)
        exchange.send(Answer(page, self.status, HTML, headers))


Shape = Literal["msg", "lines", "cdata", "result", "unauth", "noauth"]


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error of the API, in one of the shapes that PAN-OS uses.

    `msg` is text in `<msg>`; `lines` is a `<line>` for each line of the message; `cdata` is one
    line around all of them; `result` is `<result><msg>` with blanks around the attributes' signs;
    `unauth` and `noauth` are statuses instead of `error`. `status` is that of HTTP.
    """

    message: str
    code: int | None = None
    shape: Shape = "lines"
    status: int = 200

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(self.answer())

    def answer(self) -> Answer:
        return Answer(self._xml().encode(), self.status)

    def _xml(self) -> str:
        said = escape(self.message)
        code = "" if self.code is None else f' code="{self.code}"'
        match self.shape:
            case "msg":
                pass
            case "lines":
                said = "".join(f"<line>{line}</line>" for line in said.split("\n"))
            case "cdata":
                said = f"<line><![CDATA[\n{self.message}\n]]></line>"
            case "result":
                code = code.replace("=", " = ").replace('"', "'")
                said = f"<result><msg>{said}</msg></result>"
                return f"<response status = 'error'{code}>{said}</response>"
            case "unauth" | "noauth":
                said = f"<msg><line>{said}</line></msg>"
                return f'<response status="{self.shape}"{code}>{said}</response>'
        return f'<response status="error"{code}><msg>{said}</msg></response>'


@dataclass(frozen=True, slots=True)
class NotXml:
    """The login page instead of a response."""

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(Answer(LOGIN_PAGE, 200, HTML))


@dataclass(frozen=True, slots=True)
class Empty:
    """A success without a body."""

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(Answer(b""))


@dataclass(frozen=True, slots=True)
class EmptyResult:
    """A success with an empty result."""

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(Answer(b'<response status="success"><result/></response>'))


@dataclass(frozen=True, slots=True)
class ContentType:
    """The correct response under another element name; no bytes if that is empty."""

    content_type: str = "text/html"

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(replace(answer(), content_type=self.content_type))


@dataclass(frozen=True, slots=True)
class Compressed:
    """The correct response, compressed although the client did not accept that."""

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        whole = answer()
        headers = (*whole.headers, ("Content-Encoding", "gzip"))
        exchange.send(replace(whole, body=gzip.compress(whole.body), headers=headers))


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect."""

    location: str
    status: int = 302

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.send(Answer(b"", self.status, HTML, (("Location", self.location),)))


@dataclass(frozen=True, slots=True)
class Truncated:
    """Less of the body than its length says, then the end; half of it if `keep` is not given."""

    keep: int | None = None

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        whole = answer()
        size = len(whole.body)
        keep = size // 2 if self.keep is None else min(self.keep, size - 1)
        exchange.close()
        exchange.last(whole.head(size) + whole.body[:keep])


@dataclass(frozen=True, slots=True)
class Reset:
    """An RST: before the answer, or after so many bytes of its body."""

    after: int | None = None

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        if self.after is not None:
            whole = answer()
            exchange.write(whole.head(len(whole.body)) + whole.body[: self.after])
            # What was not read when an RST comes is lost.
            exchange.wait(0.05)
        exchange.reset()


@dataclass(frozen=True, slots=True)
class Hangup:
    """The correct response, then the end of a connection that was meant to be kept."""

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        exchange.close()
        exchange.send(answer())


@dataclass(frozen=True, slots=True)
class Drip:
    """The correct response, `size` bytes of it every so many seconds; optionally the headers too.

    `chunked`: as one chunk, whose length begins with thousands of zeros.
    """

    every: float
    size: int = 1
    headers: bool = False
    chunked: bool = False

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        whole = answer()
        head, data = whole.head(len(whole.body)), whole.body
        if self.chunked:
            length = b"0" * 60_000 + b"%x" % len(data)
            head, data = whole.head(None), length + b"\r\n" + data + b"\r\n0\r\n\r\n"
        if self.headers:
            head, data = b"", head + data
        exchange.write(head)
        for start in range(0, len(data), self.size):
            piece = data[start : start + self.size]
            if exchange.wait(self.every):
                exchange.close()
                return
            if start + self.size < len(data):
                exchange.write(piece)
            else:
                exchange.last(piece)


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing for so many seconds, then the response that is correct by then."""

    seconds: float

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        if exchange.wait(self.seconds):
            exchange.close()
        else:
            exchange.send(answer())


@dataclass(frozen=True, slots=True)
class Huge:
    """A well-formed configuration of at least so many bytes, generated in pieces.

    Its length is not said unless `length`: it comes in chunks.
    """

    size: int
    length: bool = True

    def send(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        opening = b'<response status="success"><result><config><shared><address>'
        closing = b"</address></shared></config></result></response>"
        one = f"<entry name={quoteattr('x' * 63)}><fqdn>{'y' * 200}.test</fqdn></entry>".encode()
        block = one * max(1, 65536 // len(one))
        blocks = max(1, -(-self.size // len(block)))
        total = len(opening) + blocks * len(block) + len(closing)
        exchange.write(Answer(b"").head(total if self.length else None))
        exchange.write(self._chunk(opening))
        for _ in range(blocks):
            exchange.write(self._chunk(block))
        exchange.last(self._chunk(closing) + (b"" if self.length else b"0\r\n\r\n"))

    def _chunk(self, data: bytes) -> bytes:
        return data if self.length else b"%x\r\n%s\r\n" % (len(data), data)
