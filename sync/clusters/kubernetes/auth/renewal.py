"""Replace a connection to an API server when its files change or its credentials expire.

files as they were ── changed ──> still being written? ── the same twice ──> connect again
credentials ── end soon ─────────────────────────────────────────────────────> connect again
                                       what cannot be used ──> the old connection, and a warning
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from sync.clusters.kubernetes.auth.kubeconfig import Connection, digests
from sync.errors import ClusterError

LOOK_SECONDS = 10.0  # between two checks, well within the margin of early renewal
SETTLE_SECONDS = 2.0  # for which a changed file must stay unchanged to be used


class Renewal:
    """Makes connections to the cluster `name` by `connect`; for one thread at a time."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._look_at = -math.inf
        self._changed: Mapping[Path, str] = {}
        self._warned = ""
        self._log = structlog.get_logger().bind(cluster=name)

    def connect(self) -> Connection:
        """Make a new connection from the current files; `ClusterError` if that fails."""
        found = self._connect()
        self._changed = {}
        self._look_at = self._clock() + LOOK_SECONDS
        if self._warned:
            self._log.info("new credentials in use")
        self._warned = ""
        return found

    def renewed(self, known: Connection) -> Connection:
        """`known`, or a newer connection if one is due and can be made."""
        now = self._clock()
        if now < self._look_at:
            return known
        self._look_at = now + LOOK_SECONDS
        ending = known.renew_at is not None and now >= known.renew_at
        found = digests(known.files)
        changed = found != known.files
        seen_before = found == self._changed
        self._changed = found
        if changed and not seen_before:
            self._look_at = now + SETTLE_SECONDS
            return known
        if not (changed or ending):
            return known
        try:
            return self.connect()
        except ClusterError as error:
            # A file may be half written or missing, a plugin may fail for a while: the server
            # refuses the old credentials when they no longer count.
            if str(error) != self._warned:
                self._log.warning(
                    "new credentials cannot be used; keeping the old ones", error=str(error)
                )
            self._warned = str(error)
            return known
