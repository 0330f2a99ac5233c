"""Find foreign objects that the selectors of our policies select.

selectors of our policies  x  labels of others' sets and host endpoints  ->  guard foreign-set

Our selectors are meant for pods and for our own sets. Calico evaluates them on everything that has
labels and addresses (`felix/labelindex`): the addresses of a foreign set that a rule of ours
selects then count as the address group's, or as pods of a zone.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from sync.calico.manifest import Manifest
from sync.calico.names import NAMESPACE_LABEL
from sync.calico.references import DIRECTIONS, mapping, rules
from sync.clusters.cluster import ClusterFacts, Key, LiveObject, Selectable
from sync.plan.guards import Blocker
from sync.plan.guards.foreign import foreign_set
from sync.verify.selectors import Labels, Selector, selector

_SET: Final = "GlobalNetworkSet"
_HOST: Final = "HostEndpoint"


@dataclass(frozen=True, slots=True)
class Watched:
    """The labels of foreign sets that our selectors use (`keys`), as last read from a cluster, for
    each object that had any."""

    keys: frozenset[str] = frozenset()
    seen: Mapping[Key, object] = field(default_factory=dict)

    def moved(self, key: Key, found: Selectable | None) -> bool:
        """Whether such labels of an object have changed since; `found` is None if it is gone."""
        return self.seen.get(key) != (_essence(found, self.keys) if found else None)


@dataclass(frozen=True, slots=True)
class _Question:
    """One selector of a policy of ours, and the kinds of objects that it is evaluated on."""

    asked: Selector
    sets_only: bool  # with `namespaceSelector: global()`, of what is in no namespace
    hosts_only: bool  # as the selector of the policy itself, of what policies are for

    def selects(self, kind: str, labels: Labels) -> bool:
        if self.sets_only and NAMESPACE_LABEL in labels:
            return False
        return (kind == _HOST or not self.hosts_only) and self.asked.matches(labels)


def foreign_sets(
    ours: Iterable[Mapping[Key, Manifest]],
    live: Mapping[Key, LiveObject],
    replaced: Collection[Key],
    facts: ClusterFacts,
) -> tuple[list[Blocker], Watched]:
    """Return the guard, and the labels that a watch has to follow.

    `ours` are the observed policies and the desired ones. A set that is `replaced`, by one of ours
    that takes it over, is no longer foreign.
    """
    questions = list(_questions(ours))
    keys = frozenset().union(*(each.asked.keys() for each in questions))
    others = [*_sets(live, replaced), *facts.selectable]
    selected = _selected(questions, others)
    seen = {(each.kind, each.name): _essence(each, keys) for each in others}
    watched = Watched(keys, {key: each for key, each in seen.items() if each})
    if not selected:
        return [], watched
    named = {f"{each.kind} {each.name}": _because(each, keys) for each in selected}
    covers = sorted((each.kind, each.name, *_because(each, keys), each.spec) for each in selected)
    return [foreign_set(named, hashlib.sha256(repr(covers).encode()).hexdigest())], watched


def _essence(found: Selectable, keys: frozenset[str]) -> object:
    """The part of an object that selectors depend on; None: there is none."""
    labels = sorted((key, value) for key, value in found.labels.items() if key in keys)
    return (labels, found.profiles) if labels or found.profiles else None


def _because(found: Selectable, keys: frozenset[str]) -> list[str]:
    """The labels and profiles by which an object is selected."""
    labels = found.seen_by_selectors
    profiles = [f"labels of profile {each}" for each in found.profiles]
    return [f"{key}: {labels[key]}" for key in sorted(keys & labels.keys())] + profiles


def _sets(live: Mapping[Key, LiveObject], replaced: Collection[Key]) -> Iterator[Selectable]:
    for (kind, name), found in sorted(live.items()):
        if kind == _SET and found.foreign_because and (kind, name) not in replaced:
            labels = mapping(found.document, "metadata", "labels")
            spec = repr(sorted(mapping(found.document, "spec").items(), key=str))
            # A file of manifests may hold anything.
            yield Selectable(
                kind, name, {str(key): str(value) for key, value in labels.items()}, spec=spec
            )


def _questions(ours: Iterable[Mapping[Key, Manifest]]) -> Iterator[_Question]:
    """Every selector of our policies, once."""
    found: dict[tuple[str, bool, bool], None] = {}
    for manifests in ours:
        for (kind, _), each in manifests.items():
            if kind.endswith("Policy"):
                found.update(dict.fromkeys(_selectors(each.document())))
    for text, sets_only, hosts_only in found:
        yield _Question(_readable(text), sets_only, hosts_only)


def _selectors(policy: Mapping[str, Any]) -> Iterator[tuple[str, bool, bool]]:
    yield str(mapping(policy, "spec").get("selector") or "all()"), False, True
    for direction in DIRECTIONS:
        for rule in rules(policy, direction):
            for end in ("source", "destination"):
                entity = mapping(rule, end)
                if asked := entity.get("selector"):
                    yield str(asked), entity.get("namespaceSelector") == "global()", False
                if asked := entity.get("notSelector"):
                    yield str(asked), False, False


def _selected(questions: Sequence[_Question], others: Sequence[Selectable]) -> list[Selectable]:
    """The objects that a selector selects, or may select if inherited labels are unknown."""
    by_label: defaultdict[tuple[str, str | None], list[_Question]] = defaultdict(list)
    of_all = []
    for question in questions:
        needs = question.asked.needs()
        if needs is None:
            of_all.append(question)
        for label in needs or ():
            by_label[label].append(question)
    found = []
    for each in others:
        labels = each.seen_by_selectors
        having = (label for pair in labels.items() for label in (pair, (pair[0], None)))
        asked = chain(of_all, *(by_label.get(label, ()) for label in having))
        if (each.profiles and questions) or any(one.selects(each.kind, labels) for one in asked):
            found.append(each)
    return found


def _readable(text: str) -> Selector:
    try:
        return selector(text)
    except ValueError:
        # Never one that we wrote; it may select anything.
        return selector("all()")
