"""A source that is a Panorama, or an active/passive pair of them, read over the XML API.

    the active member  ->  its version, the subtrees that count, its version again  ->  snapshot
                       ->  its firewalls' answers, which change without a commit    ->

The running configuration is read in a few large parts and never whole. A commit in between
restarts the read.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Lock
from typing import Final, Literal

import structlog

from sync.errors import SourceError, StoreError
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.objects import Application, ApplicationGroup
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import panorama
from sync.sources.panorama.app_ids import predefined
from sync.sources.panorama.client import PanoramaHost
from sync.sources.panorama.commits import Commit, leads, newest_commit, state_of
from sync.sources.panorama.config_tree import Read, candidate, running
from sync.sources.panorama.errors import PanoramaError, PassiveError, RefusedError
from sync.sources.panorama.push_status import not_pushed
from sync.sources.panorama.registered_ips import RegistrationCache, registrations
from sync.transport.spreading import sooner

_SYSTEM: Final = "<show><system><info></info></system></show>"
_TRIES: Final = 3

View = Literal["running", "candidate"]


class Interval:
    """Counts how often an interval has passed since the first call."""

    def __init__(self, length: timedelta, spread: Callable[[float], float]) -> None:
        self._seconds = length.total_seconds()
        self._spread = spread
        self._ends: float | None = None
        self._count = 0

    def passed(self, now: float) -> int:
        if self._ends is None or now >= self._ends:
            self._count += self._ends is not None
            self._ends = now + self._spread(self._seconds)
        return self._count


class PanoramaSource:
    """A Panorama by its members: one, or the two of a pair, of which the active one is read.

    `device_groups` are those of the clusters: for them it reads registered addresses, and the
    firewalls that are out of sync. `devices` are the serial numbers of the firewalls that count;
    none: all of them. The view `candidate` is the configuration after a commit.
    """

    def __init__(
        self,
        name: str,
        members: Sequence[PanoramaHost],
        full_read_interval: timedelta,
        registered_interval: timedelta,
        device_groups: Collection[str],
        devices: Collection[str],
        last_told: RegistrationCache,
        view: View = "running",
        now: Callable[[], float] = time.monotonic,
        spread: Callable[[float], float] = sooner,
    ) -> None:
        self.name = name
        self._members = members
        self._full = Interval(full_read_interval, spread)
        self._registered = Interval(registered_interval, spread)
        self._device_groups = device_groups
        self._devices = devices
        self._last_told = last_told
        self._view = view
        self._now = now
        self._active: PanoramaHost | None = members[0] if len(members) == 1 else None
        self._newest: Commit | None = None
        self._snapshot: Snapshot | None = None
        # Of the snapshot: its member, version and full read; then the round of firewall answers.
        self._read_of: tuple[str, str, int] | None = None
        self._told_at: int | None = None
        self._content: Mapping[str, Application | ApplicationGroup] = {}
        self._content_version = ""
        self._warned: set[str] = set()
        self._lock = Lock()

    def revision(self) -> str:
        """Return the member, its version, and the numbers of full and firewall reads so far."""
        with self._lock:
            member, commit = self._asked()
            full, registered = self._due()
            # No cheap call shows whether the candidate changed.
            moved = f" {self._now()}" if self._view == "candidate" else ""
            return f"{member.host} {commit.version} {full} {registered}{moved}"

    def read(self) -> Snapshot:
        """Return the configuration of one version with the firewalls' answers; reads what is due.

        `SourceError` if the configuration is unavailable.
        """
        with self._lock:
            member, commit = self._asked()
            full, registered = self._due()
            found = self._snapshot
            of = (member.host, commit.version, full)
            if found is None or of != self._read_of or self._view == "candidate":
                commit, found = self._configured(member, commit)
                self._snapshot = found
                self._read_of, self._told_at = (member.host, commit.version, full), None
            if self._told_at != registered:
                self._snapshot = found = self._told(member, found)
                self._told_at = registered
            return found

    def _due(self) -> tuple[int, int]:
        now = self._now()
        registered = self._registered.passed(now) if self._device_groups else 0
        return self._full.passed(now), registered

    # --- the configuration ------------------------------------------------------------------------

    def _configured(self, member: PanoramaHost, commit: Commit) -> tuple[Commit, Snapshot]:
        """A snapshot of the configuration and the content, and its commit."""
        look = candidate if self._view == "candidate" else running
        for _ in range(_TRIES):
            system = member.op(_SYSTEM)
            read = look(member, (system.findtext("system/sw-version") or "").strip())
            after = newest_commit(member)
            if read is not None and after.version == commit.version:
                content = (system.findtext("system/app-version") or "").strip()
                return commit, Snapshot(
                    read_configuration(panorama(read.config, f"Panorama {member.host}")),
                    self._provenance(member, commit, read),
                    predefined=self._predefined(member, content),
                )
            commit = after
        changed = "committed" if self._view == "running" else "changed"
        raise SourceError(
            f"source {self.name}: the configuration of Panorama {member.host} was {changed} again "
            f"during each of {_TRIES} reads; the next poll tries again"
        )

    def _provenance(self, member: PanoramaHost, commit: Commit, read: Read) -> Provenance:
        origin = f"Panorama {member.host}"
        if read.pending:
            version = f"{commit.version} with pending changes"
            return Provenance(self.name, origin, version, read.administrators, pending=True)
        return Provenance(
            self.name, origin, commit.version, commit.administrators, commit.description
        )

    def _predefined(
        self, member: PanoramaHost, version: str
    ) -> Mapping[str, Application | ApplicationGroup]:
        """The App-IDs of a version of the content; the last known ones if they are unavailable."""
        if not version or version != self._content_version:
            try:
                self._content = predefined(member)
            except PanoramaError as error:
                event = "App-IDs unavailable; using the last known ones, else the bundled table"
                self._warn(event, error, f"content {version}")
            else:
                self._content_version = version
        return self._content

    # --- the firewalls ----------------------------------------------------------------------------

    def _told(self, member: PanoramaHost, configured: Snapshot) -> Snapshot:
        if not self._device_groups:
            return configured
        configuration = configured.configuration
        try:
            behind = not_pushed(member, configuration, self._device_groups)
        except PanoramaError as error:
            if not isinstance(error, RefusedError):
                member.require_up()
            self._warn("push status of firewalls unavailable", error, "pushed")
            behind = {}
        else:
            self._warned.discard("pushed")
        try:
            registered = registrations(
                member, configuration, self._device_groups, self._devices, self._last_told
            )
        except StoreError as error:
            raise SourceError(f"source {self.name}: {error}") from error
        return replace(configured, registered=registered, not_pushed=behind)

    def _warn(self, event: str, error: SourceError, once_for: str) -> None:
        if once_for not in self._warned:
            self._warned.add(once_for)
            structlog.get_logger().warning(event, source=self.name, error=str(error))

    # --- the active member ------------------------------------------------------------------------

    def _asked(self) -> tuple[PanoramaHost, Commit]:
        """The active member, and the commit of its running configuration."""
        known = self._active
        if known is not None:
            try:
                return known, self._noted(newest_commit(known))
            except PanoramaError as error:
                if len(self._members) == 1:
                    if isinstance(error, PassiveError):
                        raise self._passive_only([known.host]) from error
                    raise
        self._active = self._find_active()
        return self._active, self._noted(newest_commit(self._active))

    def _find_active(self) -> PanoramaHost:
        states: dict[str, str] = {}
        failed: list[SourceError] = []
        active: list[PanoramaHost] = []
        for member in self._members:
            try:
                state = state_of(member)
            except SourceError as error:
                failed.append(error)
                continue
            states[member.host] = state
            if leads(state):
                active.append(member)
        if len(active) == 1:
            return active[0]
        if len(active) > 1:
            said = ", ".join(f"{host} is {state}" for host, state in states.items())
            raise SourceError(
                f"source {self.name}: more than one of its Panoramas is active ({said}); repair "
                "the pair, until then its clusters stay as they are"
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
        """Warn if the version went backwards, as after a fail-over to a member that lags."""
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
