"""A source that is a Panorama, or an active/passive pair of them, read over the XML API.

    the active member  ->  its version, the subtrees that count, its version again  ->  snapshot

The running configuration is read, in a few large parts and never whole: `/config` also holds
password hashes and keys. What is committed in between makes a read begin anew.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Final

import structlog
from lxml import etree

from sync.errors import SourceError
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.document import panorama
from sync.firewall.reading import read_configuration
from sync.sources.panos_client import Member
from sync.sources.panos_line import PanoramaError, RefusedError

_DEVICE: Final = "/config/devices/entry[@name='localhost.localdomain']"
_SHARED: Final = "/config/shared"
_ANCESTORS: Final = f"{_DEVICE}/deviceconfig/setting/management/ancestor-objects-take-precedence"
_GROUPS: Final = f"{_DEVICE}/device-group"
_TEMPLATES: Final = (f"{_DEVICE}/template", f"{_DEVICE}/template-stack")
_HIERARCHY: Final = "/config/readonly/devices/entry[@name='localhost.localdomain']/device-group"
_OLD_HIERARCHY: Final = "/config/readonly/dg-meta-data"

_AUDIT: Final = "<show><config><audit><info></info></audit></config></show>"
_JOBS: Final = "<show><jobs><all></all></jobs></show>"
_STATE: Final = "<show><high-availability><state></state></high-availability></show>"
_SYSTEM: Final = "<show><system><info></info></system></show>"

_AUDITED: Final = "version"
_TRIES: Final = 3
_ADMINISTRATOR: Final = ("admin", "administrator", "user", "committed-by", "commit-by")
_DESCRIPTION: Final = ("description", "comment", "desc")


@dataclass(frozen=True, slots=True)
class Commit:
    """What made a running configuration: its number, of audit versions or of commit jobs."""

    kind: str
    number: int
    administrators: tuple[str, ...] = ()
    description: str = ""

    @property
    def version(self) -> str:
        return str(self.number) if self.kind == _AUDITED else f"{self.kind} {self.number}"


class PanoramaSource:
    """A Panorama by its members: one, or the two of a pair, of which the active one is read."""

    def __init__(
        self,
        name: str,
        members: Sequence[Member],
        full_read_interval: timedelta,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._members = members
        self._interval = full_read_interval.total_seconds()
        self._now = now
        self._active: Member | None = members[0] if len(members) == 1 else None
        self._newest: Commit | None = None
        self._lock = Lock()

    def revision(self) -> str:
        """The member, its version, and how many full reads are due by now."""
        with self._lock:
            member, commit = self._asked()
            due = int(self._now() // self._interval)
            return f"{member.host} {commit.version} {due}"

    def read(self) -> Snapshot:
        """The running configuration as of one version; `SourceError` if there is none to be had."""
        with self._lock:
            member, commit = self._asked()
            for _ in range(_TRIES):
                config = _config(member)
                after = _commit(member)
                if after.version == commit.version:
                    return self._snapshot(member, commit, config)
                commit = after
        raise SourceError(
            f"source {self.name}: the configuration of Panorama {member.host} was committed again "
            f"during each of {_TRIES} reads; the next poll tries again"
        )

    def _snapshot(self, member: Member, commit: Commit, config: etree._Element) -> Snapshot:
        origin = f"Panorama {member.host}"
        return Snapshot(
            read_configuration(panorama(config, origin)),
            Provenance(
                source=self.name,
                origin=origin,
                version=commit.version,
                administrators=commit.administrators,
                description=commit.description,
            ),
        )

    # --- the active member ------------------------------------------------------------------------

    def _asked(self) -> tuple[Member, Commit]:
        """The member that is active, and what its running configuration is the work of."""
        known = self._active
        if known is not None:
            try:
                return known, self._noted(_commit(known))
            except PanoramaError as error:
                if len(self._members) == 1:
                    if error.passive:
                        raise self._passive_only([known.host]) from error
                    raise
        self._active = self._find_active()
        return self._active, self._noted(_commit(self._active))

    def _find_active(self) -> Member:
        states: dict[str, str] = {}
        failed: list[SourceError] = []
        active: list[Member] = []
        for member in self._members:
            try:
                state = _state(member)
            except SourceError as error:
                failed.append(error)
                continue
            states[member.host] = state
            if _leads(state):
                active.append(member)
        if len(active) == 1:
            return active[0]
        if len(active) > 1:
            said = ", ".join(f"{host} is {state}" for host, state in states.items())
            raise SourceError(
                f"source {self.name}: more than one of its Panoramas is active ({said}); mend the "
                "pair, until then its clusters stay as they are"
            )
        if states:
            raise self._passive_only(list(states), failed)
        raise failed[0]

    def _passive_only(
        self, hosts: Sequence[str], failed: Sequence[SourceError] = ()
    ) -> SourceError:
        also = "".join(f"; {error}" for error in failed)
        return SourceError(
            f"source {self.name}: no member is active ({', '.join(hosts)} passive or suspended), "
            f"and a passive one may lag behind; add the active one to hosts, or bring it back{also}"
        )

    def _noted(self, commit: Commit) -> Commit:
        """Warn where the version went backwards, as after a fail-over to a member that lags."""
        newest = self._newest
        if newest and commit.kind == newest.kind and commit.number < newest.number:
            structlog.get_logger().warning(
                "the configuration's version went backwards",
                source=self.name,
                version=commit.version,
                before=newest.version,
            )
        self._newest = commit
        return commit


def _state(member: Member) -> str:
    """`primary-active`, `secondary-passive`, …; `alone` where there is no pair."""
    found = member.op(_STATE)
    if (found.findtext("enabled") or "").strip() == "no":
        return "alone"
    state = (found.findtext("local-info/state") or "").strip()
    return state or "unknown"


def _leads(state: str) -> bool:
    return state == "alone" or state.rpartition("-")[2] == "active"


def _commit(member: Member) -> Commit:
    """The newest commit, by the audit's versions or, where that is not told, by commit jobs."""
    try:
        found = _newest_version(member.op(_AUDIT))
    except RefusedError as error:
        if error.passing or error.unauthorized or error.passive:
            raise
        found = None
    if found is None:
        # Of jobs a passive member tells too.
        if not _leads(state := _state(member)):
            raise PanoramaError(f"{member.line.where} is {state}", passive=True)
        found = _newest_job(member.op(_JOBS))
    if found is None:
        raise PanoramaError(
            f"{member.line.where} tells neither of configuration versions nor of commit jobs, so "
            "nobody knows what its running configuration is; give the API key's role the "
            "operational requests"
        )
    return found


def _newest_version(result: etree._Element) -> Commit | None:
    numbered = [
        (int(name), entry)
        for entry in result.iter("entry")
        for name in [entry.get("name") or ""]
        if name.isascii() and name.isdigit()
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
            name = said.get("id", "")
            if name.isascii() and name.isdigit():
                done.append((int(name), job))
    if not done:
        return None
    number, job = max(done, key=lambda each: each[0])
    return Commit("commit job", number, _texts(job, _ADMINISTRATOR), _text(job, _DESCRIPTION))


def _texts(element: etree._Element, tags: Sequence[str]) -> tuple[str, ...]:
    found = [" ".join((child.text or "").split()) for tag in tags for child in element.iter(tag)]
    return tuple(dict.fromkeys(filter(None, found)))


def _text(element: etree._Element, tags: Sequence[str]) -> str:
    return "; ".join(_texts(element, tags))


def _config(member: Member) -> etree._Element:
    """The parts of the running configuration that count, where they stand in the whole."""
    xpaths = (_SHARED, _GROUPS, *_TEMPLATES, _ANCESTORS, _HIERARCHY)
    with ThreadPoolExecutor(len(xpaths), "panorama") as pool:
        parts = dict(zip(xpaths, pool.map(member.show, xpaths), strict=True))
    if parts[_HIERARCHY] is None:
        parts[_OLD_HIERARCHY] = member.show(_OLD_HIERARCHY)
    version = (member.op(_SYSTEM).findtext("system/sw-version") or "").strip()
    config = etree.Element("config", version=version)
    for xpath, found in parts.items():
        if found is not None:
            parent = config
            for step in xpath.split("/")[2:-1]:
                parent = _child(parent, step)
            parent.extend(list(found))
    _require_whole(member, config)
    return config


def _require_whole(member: Member, config: etree._Element) -> None:
    """Hold a configuration to what every Panorama has.

    Without shared objects or device groups rules would be missing, without their parents device
    groups would lose those of their ancestors: denies among them.
    """
    groups = {each.get("name") for each in config.iterfind("devices/entry/device-group/entry")}
    for what, there in (
        ("shared objects (/config/shared)", config.find("shared") is not None),
        ("device groups", config.find("devices/entry/device-group") is not None),
        # One alone can have no parent but Shared.
        (
            "parents of its device groups (/config/readonly)",
            len(groups) < 2 or config.find("readonly") is not None,
        ),
    ):
        if not there:
            raise PanoramaError(
                f"{member.line.where} shows no {what}; give the API key's role the whole "
                "configuration, no access domain"
            )


def _child(parent: etree._Element, step: str) -> etree._Element:
    """The child that a step of an xpath names, made where it is missing."""
    tag, _, rest = step.partition("[")
    found = parent.find(step)
    if found is None:
        found = etree.SubElement(parent, tag)
        if rest:
            found.set("name", rest.split("'")[1])
    return found
