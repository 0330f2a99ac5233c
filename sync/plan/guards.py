"""What can stop a plan. Each guard has a name, and its message says what to do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blocker:
    """A guard that holds a plan back; `approvable` says whether an approval can let it through."""

    guard: str
    message: str
    approvable: bool


def foreign_object(kind: str, name: str) -> Blocker:
    """An object of somebody else stands where one of ours shall stand."""
    return Blocker(
        "foreign-object",
        f"{kind} {name} exists and does not carry the labels of this installation, so it is left "
        "as it is; remove it, or rename the address group",
        approvable=False,
    )
