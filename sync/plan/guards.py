"""What can stop a plan. Each guard has a name, and its message says what to do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blocker:
    """A guard that holds a plan back; `approvable` says whether an approval can let it through."""

    guard: str
    message: str
    approvable: bool


def foreign_object(kind: str, name: str, because: str) -> Blocker:
    """An object of somebody else stands where one of ours shall stand; `because` says why it is."""
    return Blocker(
        "foreign-object",
        f"{kind} {name} {because}; it is left as it is and nothing in this cluster is written "
        "until it is removed, or the address group renamed",
        approvable=False,
    )
