"""Cassettes: what the client and a Panorama said to each other, recorded once and played since."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import vcr
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException
from vcr.patch import PATCHER_NAMES
from vcr.stubs.urllib3_stubs import VCRRequestsHTTPSConnection

from sync.transport import https
from sync.transport.deadline import WatchedConnection
from tests.contract.hiding import hidden_request, hidden_response
from tests.contract.scan import found_in

_ORIGIN: Final = "recorded_with"


class _Connection(VCRRequestsHTTPSConnection):  # type: ignore[misc]  # vcrpy has no types
    """The line's own connection, recorded or played. vcrpy knows those of urllib3 alone."""

    _baseclass = WatchedConnection

    def getresponse(self) -> Any:
        try:
            return super().getresponse()
        finally:
            # vcrpy has read the answer; nobody else would close what it came by.
            self.real_connection.close()


class _Serializer:
    """YAML, its origin first, in an order of its own since the client asks in several threads."""

    deserialize = staticmethod(yaml.safe_load)

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        cassette["interactions"].sort(key=lambda each: str(each["request"]["body"]))
        ordered = {name: cassette[name] for name in ("metadata", "version", "interactions")}
        return str(yaml.safe_dump(ordered, sort_keys=False, width=100, allow_unicode=True))


_vcr: Final = vcr.VCR(
    match_on=("method", "uri", "body"),
    before_record_request=hidden_request,
    before_record_response=hidden_response,
    serializer="sorted",
    record_on_exception=False,
    custom_patches=((https, "WatchedConnection", _Connection),),
    # Its patches of urllib3 would put its own connection in the place of ours.
    skip_patchers=PATCHER_NAMES,
)
_vcr.register_serializer("sorted", _Serializer)


@contextmanager
def played(path: Path) -> Iterator[str]:
    """Lines made in here hear a cassette alone; what it was recorded with.

    All of it must be asked for, and nothing else.
    """
    with _vcr.use_cassette(path, record_mode="none") as cassette:
        try:
            yield cassette.get_metadata(_ORIGIN, "")
        except CannotOverwriteExistingCassetteException as error:
            error.add_note("The client asks something new: see cassettes/README.md, `make record`.")
            raise
    assert cassette.all_played, f"{path.name} holds what nobody asks for; record it again"


@contextmanager
def recorded(path: Path, origin: str) -> Iterator[None]:
    """What lines made in here say and hear becomes a cassette, unless the block fails.

    `AssertionError` if the scan finds something in it: then nothing is written.
    """
    with TemporaryDirectory() as directory:
        # Only what was scanned comes to its place. An error within vcrpy's context would leave
        # its patches behind.
        fresh = Path(directory) / path.name
        with _vcr.use_cassette(fresh, record_mode="all") as cassette:
            cassette.get_metadata(_ORIGIN, origin)
            yield
        written = fresh.read_text("utf-8")
    if found := found_in(written):
        raise AssertionError(f"not recorded, it would hold {'; '.join(found)}")
    path.write_text(written, "utf-8")
