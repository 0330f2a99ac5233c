"""What a plan is made from: the version of each source, and firewalls that lack it."""

from dataclasses import dataclass

_SHOWN = 5  # firewalls that are named, at most


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version of which source a plan is made from, and who committed it, where known.

    Where changes are `pending`, they are not committed, and `administrators` made them.
    """

    source: str
    version: str
    administrators: tuple[str, ...] = ()
    description: str = ""
    pending: bool = False


@dataclass(frozen=True, slots=True)
class NotPushed:
    """The firewalls of a device group that are out of sync with Panorama, by serial number."""

    source: str
    device_group: str
    devices: tuple[str, ...]

    @property
    def clause(self) -> str:
        """Name the firewalls in a clause: the first few, and how many more."""
        more = len(self.devices) - _SHOWN
        listed = ", ".join(self.devices[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"device group {self.device_group} of {self.source} is not pushed to {listed}"
