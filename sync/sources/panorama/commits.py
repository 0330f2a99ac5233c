"""The commit of a Panorama's running configuration, and whether it is active in its pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lxml import etree

from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.errors import PanoramaError, PassiveError, RefusedError
from sync.transport.errors import Retryable, Unauthenticated

_AUDIT: Final = "<show><config><audit><info></info></audit></config></show>"
_JOBS: Final = "<show><jobs><all></all></jobs></show>"
_STATE: Final = "<show><high-availability><state></state></high-availability></show>"

_AUDITED: Final = "version"
_DIGITS: Final = 18
_ADMINISTRATOR: Final = ("admin", "administrator", "user", "committed-by", "commit-by")
_DESCRIPTION: Final = ("description", "comment", "desc")


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit that made a running configuration, numbered by audit versions or commit jobs."""

    kind: str
    number: int
    administrators: tuple[str, ...] = ()
    description: str = ""

    @property
    def version(self) -> str:
        return str(self.number) if self.kind == _AUDITED else f"{self.kind} {self.number}"


def state_of(member: PanoramaHost) -> str:
    """Return `primary-active`, `secondary-passive`, …; `alone` if there is no pair."""
    found = member.op(_STATE)
    if (found.findtext("enabled") or "").strip() == "no":
        return "alone"
    state = (found.findtext("local-info/state") or "").strip()
    return state or "unknown"


def leads(state: str) -> bool:
    return state == "alone" or state.rpartition("-")[2] == "active"


def newest_commit(member: PanoramaHost) -> Commit:
    """Return the newest commit, by audit versions or, if there are none, by commit jobs."""
    try:
        found = _newest_version(member.op(_AUDIT))
    except RefusedError as error:
        # Only a call that it does not know has another answer.
        if isinstance(error, Retryable | Unauthenticated | PassiveError):
            raise
        found = None
    if found is None:
        # A passive member reports jobs too.
        if not leads(state := state_of(member)):
            raise PassiveError(f"{member.line.where} is {state}")
        found = _newest_job(member.op(_JOBS))
    if found is None:
        raise PanoramaError(
            f"{member.line.where} reports neither configuration versions nor commit jobs, so the "
            "version of its running configuration is unknown; give the API key's role the "
            "operational requests"
        )
    return found


def _newest_version(result: etree._Element) -> Commit | None:
    numbered = [
        (number, entry)
        for entry in result.iter("entry")
        for number in [_number(entry.get("name", ""))]
        if number is not None
    ]
    if not numbered:
        return None
    number, entry = max(numbered, key=lambda each: each[0])
    return Commit(_AUDITED, number, _texts(entry, _ADMINISTRATOR), _text(entry, _DESCRIPTION))


def _newest_job(result: etree._Element) -> Commit | None:
    done = []
    for job in result.iter("job"):
        said = {child.tag: (child.text or "").strip() for child in job}
        if (said.get("type"), said.get("status"), said.get("result")) == ("Commit", "FIN", "OK"):
            number = _number(said.get("id", ""))
            if number is not None:
                done.append((number, job))
    if not done:
        return None
    number, job = max(done, key=lambda each: each[0])
    return Commit("commit job", number, _texts(job, _ADMINISTRATOR), _text(job, _DESCRIPTION))


def _number(text: str) -> int | None:
    """A version's or a job's number; None for what no Panorama counts to."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _texts(element: etree._Element, tags: Sequence[str]) -> tuple[str, ...]:
    found = [" ".join((child.text or "").split()) for tag in tags for child in element.iter(tag)]
    return tuple(dict.fromkeys(filter(None, found)))


def _text(element: etree._Element, tags: Sequence[str]) -> str:
    return "; ".join(_texts(element, tags))
