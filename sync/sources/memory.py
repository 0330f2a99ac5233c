"""A memory that lasts as long as the process, for whoever has no other."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InProcess:
    """Forgets everything when the process ends."""

    _kept: dict[tuple[str, str], bytes] = field(default_factory=dict, repr=False)

    def recall(self, kind: str, name: str) -> bytes | None:
        return self._kept.get((kind, name))

    def remember(self, kind: str, name: str, value: bytes) -> None:
        self._kept[kind, name] = value
