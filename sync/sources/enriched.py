"""A source with what its configuration only names: the answers of DNS, and lists from their URLs.

the inner source, if its revision moved  ->  names and lists that are due  ->  one snapshot
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from sync.errors import SourceError, StoreError
from sync.firewall.configuration import Configuration, Snapshot
from sync.firewall.effective import effective
from sync.firewall.objects import Address, ExternalList, Objects
from sync.sources import Source
from sync.sources.dns import DnsCache
from sync.sources.edl.client import EdlClient


class AnsweredSource:
    """A source around a source; for one thread. `names` or `lists` None: not asked for."""

    def __init__(
        self,
        inner: Source,
        names: DnsCache | None,
        lists: EdlClient | None,
        device_groups: Collection[str],
    ) -> None:
        """`device_groups` are those that clusters stand for: what others see is not asked for."""
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
        """That of the inner source, and how many rounds of questions there were or are due."""
        self._told = self._inner.revision()
        return f"{self._told} {self._rounds + self._due()}"

    def read(self) -> Snapshot:
        """The inner source's, read anew if its revision moved, with answers as of now."""
        # One call for both where this read is what a revision led to.
        revision, self._told = self._told or self._inner.revision(), None
        if self._snapshot is None or revision != self._revision:
            self._snapshot = self._inner.read()
            self._revision = revision
            self._look(self._snapshot.configuration)
        self._rounds += self._due()
        try:
            return replace(
                self._snapshot,
                names=self._names.answers(self._fqdns) if self._names else {},
                lists=self._lists.answers(self._wanted) if self._lists else {},
            )
        except StoreError as error:
            # What was said last is not to be had, and without it more would vanish than did.
            raise SourceError(f"source {self.name}: {error}") from error

    def _due(self) -> bool:
        return any(each.due() for each in (self._names, self._lists) if each)

    def _look(self, configuration: Configuration) -> None:
        """Note what the device groups see that has to be asked for."""
        seen: list[Objects] = []
        for name in self._device_groups:
            # A device group that is not to be had is an error of its clusters alone.
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
