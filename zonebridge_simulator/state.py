"""The state of a Panorama: its configurations and commits, its jobs, its peer."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from lxml import etree

AuditShape = (
    Literal["newest-first", "oldest-first", "text", "unsupported"]
    | Callable[[Sequence["Commit"]], str]
)
"""The shape of the audit log, which no document shows.

`newest-first`: entries directly in the result. `oldest-first`: other names, one level deeper.
`text`: the table of the command line. `unsupported`: an error. Or the inside of the result, made
of the commits, newest first.
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """A version of the running configuration."""

    version: int
    date: datetime
    job: int
    administrator: str
    description: str
    root: etree._Element


@dataclass(frozen=True, slots=True)
class Job:
    """A job. One without a number is a `Failed-Job`, which has little else.

    PAN-OS says some ends as times alone: those of jobs that are `brief`.
    """

    number: int | None
    kind: str
    enqueued: datetime
    status: str = "FIN"
    result: str = "OK"
    user: str = ""
    description: str = ""
    brief: bool = False


class State:
    """The state of a Panorama. Tests change it while it is served.

    `kept` is how many versions the audit log goes back; `clock` tells its time.
    """

    def __init__(
        self,
        document: bytes,
        *,
        version: int = 52,
        kept: int = 100,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.clock: Callable[[], datetime] = clock or (lambda: datetime.now(tz=UTC))
        self.ha: str | None = None
        """None, "active", "passive", or a whole local state such as "secondary-suspended"."""
        self.running_sync = "synchronized"
        self.audit_shape: AuditShape = "newest-first"
        self.registered: dict[str, Sequence[str]] = {}
        """The tags of registered addresses on Panorama itself."""
        self.registered_on: dict[str, Mapping[str, Sequence[str]]] = {}
        """The same on connected firewalls: by serial number, or by `serial/vsys`."""
        self.lists: dict[str, str] = {}
        """External lists by name, served at `/edl/NAME` without a key."""
        self.shared_policy_status: dict[str, str] = {}
        """By serial number, if not "In Sync"."""
        self.disconnected: set[str] = set()
        """Serial numbers of firewalls that are not connected."""
        self.predefined: bytes | None = None
        """`<predefined>` of the content; None if it is unavailable."""
        self.system: dict[str, str] = dict(SYSTEM)
        self.commits: list[Commit] = []
        """Oldest first."""
        self.jobs: list[Job] = []
        """Oldest first."""
        self._kept = kept
        self._candidate: etree._Element | None = None
        self._first(document, version)

    # --- the configurations -------------------------------------------------------------------

    @property
    def running(self) -> etree._Element:
        return self.commits[-1].root

    @property
    def version(self) -> int:
        """The newest version of the running configuration."""
        return self.commits[-1].version

    @property
    def candidate(self) -> bytes:
        """The candidate configuration: the running one, unless set. None resets it."""
        return etree.tostring(self.candidate_root)

    @candidate.setter
    def candidate(self, document: bytes | None) -> None:
        root = None if document is None else read_document(document)
        with self.lock:
            self._candidate = root

    @property
    def candidate_root(self) -> etree._Element:
        return self.running if self._candidate is None else self._candidate

    @property
    def is_active(self) -> bool:
        return self.ha is None or self.ha == "active" or self.ha.endswith("-active")

    def commit(
        self,
        document: bytes | None = None,
        administrator: str = "admin",
        description: str = "",
    ) -> int:
        """A new running configuration, the candidate if none is given; its version."""
        root = None if document is None else read_document(document)
        with self.lock:
            if root is None:
                root, self._candidate = self.candidate_root, None
            job = self.add_job("Commit", user=administrator, description=description, brief=True)
            assert job.number is not None
            made = Commit(
                self.version + 1, job.enqueued, job.number, administrator, description, root
            )
            self.commits = [*self.commits, made][-self._kept :]
            return made.version

    # --- the jobs -----------------------------------------------------------------------------

    def add_job(
        self,
        kind: str,
        *,
        status: str = "FIN",
        result: str = "OK",
        user: str = "",
        description: str = "",
        brief: bool = False,
    ) -> Job:
        """A job that changes nothing: a push (`CommitAll`), a commit that failed (`FAIL`) …"""
        with self.lock:
            number = max((job.number or 0 for job in self.jobs), default=0) + 1
            job = Job(number, kind, self.clock(), status, result, user, description, brief)
            self.jobs.append(job)
            return job

    def _first(self, document: bytes, version: int) -> None:
        now = self.clock()
        root = read_document(document)
        self.commits = [Commit(version, now, 385, "admin", "", root)]
        self.jobs = [
            Job(None, "Failed-Job", now),
            # Real jobs of different types share numbers.
            Job(385, "RefreshLic", now, brief=True),
            Job(385, "Commit", now, brief=True),
            Job(386, "CommitAll", now, user="admin"),
            Job(387, "Commit", now, result="FAIL", user="admin"),
        ]


SYSTEM = {
    "hostname": "panorama",
    "ip-address": "127.0.0.1",
    "uptime": "12 days, 3:04:05",
    "family": "pc",
    "model": "Panorama",
    "serial": "000710000000001",
    "sw-version": "11.1.6",
    "app-version": "8920-9269",
    "multi-vsys": "off",
    "system-mode": "panorama",
    "operational-mode": "normal",
}


def read_document(document: bytes) -> etree._Element:
    """The `config` element of a document, bare or in a response of the API.

    `ValueError` if there is none.
    """
    # No Panorama keeps comments; and libxml2 crashes where one is made canonical by itself.
    parser = etree.XMLParser(
        huge_tree=True,
        resolve_entities=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"no whole XML: {error}") from error
    config = root if root.tag == "config" else root.find("result/config")
    if config is None:
        raise ValueError(f"a document with <{root.tag}> and no configuration")
    # Paths start at a root.
    return config if config is root else etree.fromstring(etree.tostring(config, with_tail=False))
