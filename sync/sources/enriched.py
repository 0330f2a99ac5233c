"""A source with the answers of DNS and the external lists that its configuration names.

the inner source, if its revision changed  ->  names and lists that are due  ->  one snapshot
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from sync.errors import SourceError, StoreError
from sync.firewall.configuration import Configuration, Snapshot
from sync.firewall.effective import effective
from sync.firewall.objects import Address, ExternalList, Objects
from sync.net.addresses import NOWHERE, AddressSet
from sync.sources import Source
from sync.sources.dns import DnsCache
from sync.sources.edl.client import EdlClient


class AnsweredSource:
    """A source around a source; for one thread. `names` or `lists` None: not wanted."""

    def __init__(
        self,
        inner: Source,
        names: DnsCache | None,
        lists: EdlClient | None,
        device_groups: Collection[str],
    ) -> None:
        """`device_groups` are those of the clusters; names and lists of others are ignored."""
        self.name = inner.name
        self._inner = inner
        self._names, self._lists = names, lists
        self._device_groups = device_groups
        self._told: str | None = None
        self._revision = ""
        self._snapshot: Snapshot | None = None
        self._fqdns: frozenset[str] = frozenset()
        self._wanted: frozenset[ExternalList] = frozenset()
        self._rounds = 0

    def revision(self) -> str:
        """The inner source's, and the number of rounds of questions that were made or are due."""
        self._told = self._inner.revision()
        return f"{self._told} {self._rounds + self._due()}"

    def read(self) -> Snapshot:
        """The inner source's snapshot, read again if its revision changed, with current answers."""
        # `revision` has usually just been called: no second call for this read.
        revision, self._told = self._told or self._inner.revision(), None
        if self._snapshot is None or revision != self._revision:
            self._snapshot = self._inner.read()
            self._revision = revision
            self._look(self._snapshot.configuration)
        self._rounds += self._due()
        try:
            return replace(
                self._snapshot,
                names=self._answers(self._names) if self._names else {},
                lists=self._lists.answers(self._wanted) if self._lists else {},
            )
        except StoreError as error:
            # Without the last answers more addresses would vanish than did.
            raise SourceError(f"source {self.name}: {error}") from error

    def _answers(self, names: DnsCache) -> dict[str, AddressSet]:
        """The answers of DNS to every name; none for one that was never answered."""
        return {**dict.fromkeys(self._fqdns, NOWHERE), **names.answers(self._fqdns)}

    def _due(self) -> bool:
        return any(each.due() for each in (self._names, self._lists) if each)

    def _look(self, configuration: Configuration) -> None:
        """Note the names and lists that the device groups see."""
        seen: list[Objects] = []
        for name in self._device_groups:
            # A missing device group is an error only of its clusters.
            with suppress(SourceError):
                seen.append(effective(configuration, name).objects)
        self._fqdns = frozenset(
            found.value
            for objects in seen
            for found in objects.addresses.values()
            if isinstance(found, Address) and found.kind == "fqdn" and not found.problem
        )
        self._wanted = frozenset(
            found for objects in seen for found in objects.external_lists.values()
        )
