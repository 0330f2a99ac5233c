"""Guard: a set would be removed while policies still select it."""

from collections.abc import Mapping, Sequence

from sync.calico.references import Label, carried, named
from sync.plan.changes import Action, Change
from sync.plan.guards import Blocker, ObservedObject, counted, listed


def referenced_set(
    name: str, label: Label, policies: Sequence[str], *, adopted: bool = False
) -> Blocker:
    """Block the removal of a set that policies name by a `label` which no other set carries.

    `adopted`: the set stays, and loses the label when it is taken over.
    """
    what = "taken over and lose a label from" if adopted else "removed from"
    key, value = label
    said = f"{key} == '{value}'" if value is not None else f"has({key})"
    return Blocker(
        "referenced-set",
        f"GlobalNetworkSet {name} would be {what} under "
        f"{counted(policies, 'policy', 'policies')} ({listed(policies)}) that still name {said}, "
        "which no other set has; change those policies first, or keep the address group",
        approvable=False,
    )


def referenced_sets(
    changes: Sequence[Change], live: Mapping[tuple[str, str], ObservedObject]
) -> list[Blocker]:
    """Make a blocker for each set that would be removed while any policy, foreign or not, names it.

    A foreign set that is taken over counts as removed: it may lose labels.

    `live` is the whole cluster before the changes. A policy names a label if its rules compare it.
    The label is still carried if any other set has it, foreign ones included.
    """
    removed = {
        (change.kind, change.name): change.before.contents.labels
        for change in changes
        if change.kind == "GlobalNetworkSet"
        and change.before
        and (change.action is Action.DELETE or _adopted(change, live))
    }
    if not removed:
        return []
    documents = {key: held.document for key, held in live.items()}
    for change in changes:
        key = (change.kind, change.name)
        if change.after:
            documents[key] = change.after.document()
        else:
            documents.pop(key, None)
    missing = frozenset().union(*removed.values())
    missing -= frozenset().union(
        *(carried(each) for (kind, _), each in documents.items() if kind == "GlobalNetworkSet")
    )
    users: dict[Label, list[str]] = {}
    for (kind, name), document in sorted(documents.items()):
        if kind.endswith("Policy"):
            for label in missing & named(document):
                users.setdefault(label, []).append(f"{kind} {name}")
    return [
        referenced_set(key[1], label, users[label], adopted=key in documents)
        for key, labels in sorted(removed.items())
        for label in sorted(labels & users.keys(), key=lambda each: (each[0], each[1] or ""))
    ]


def _adopted(change: Change, live: Mapping[tuple[str, str], ObservedObject]) -> bool:
    """Whether a change takes over a foreign object."""
    held = live.get((change.kind, change.name))
    return held is not None and bool(held.foreign_because)
