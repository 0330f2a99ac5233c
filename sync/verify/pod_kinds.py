"""The kinds of pods that selectors tell apart: every combination of labels that they ask about.

    selectors of policies and rules  ->  for each label, the values that some test tells apart
                                     ->  pods with each combination, those that no selector tells
                                         apart together

So a pod's labels are all known here, whatever zones are configured: no selector is left open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from typing import Any, Final

from sync.verify.calico_documents import POLICY_KINDS
from sync.verify.calico_semantics import DIRECTIONS
from sync.verify.profiles import UnreadableError
from sync.verify.selectors import Labels, Selector, Term, Tree, selector

MOST: Final = 4_096  # combinations of labels
_MOST_TESTS: Final = 8  # of the content of one label's values

# Every pod has them, and the first is the same for all.
_ORCHESTRATOR: Final = "projectcalico.org/orchestrator"
_NAMESPACE: Final = "projectcalico.org/namespace"


@dataclass(frozen=True, slots=True)
class PodKind:
    """Pods that no selector tells apart. `zone` is "" without one, None if the label names none.

    `labels` has all combinations of the labels that selectors ask about; a value may stand for
    others, and a label that is absent for any value that no selector names.
    """

    zone: str | None
    labels: tuple[Labels, ...]


@dataclass(frozen=True, slots=True)
class PodKinds:
    """All kinds, and the values of each label that tests tell apart, None where it is absent.

    Values that are `made` stand for all that pass the same tests and are in no selector; `alike`
    has the values in selectors that pass the same tests as one of `values`, itself among them.
    """

    kinds: tuple[PodKind, ...]
    values: Mapping[str, tuple[str | None, ...]]
    made: frozenset[str]
    alike: Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Zoning:
    """How a pod's zone follows from its labels: `zone_of` as in `PodKind`.

    `named` are the values of the zone `label` that name a zone.
    """

    label: str
    named: frozenset[str]
    zone_of: Callable[[Labels], str | None]


def pod_kinds(documents: Iterable[Mapping[str, Any]], zoning: Zoning) -> PodKinds:
    """Find the kinds of pods that zones and the policies among documents tell apart.

    `UnreadableError` if there are too many, or if a selector cannot be read.
    """
    texts = {text: _read(text) for document in documents for text in _texts(document)}
    terms: dict[str, set[Term]] = {}
    for each in texts.values():
        for term in _terms(each.tree()):
            if term.kind != "all":
                terms.setdefault(term.key, set()).add(term)
    by_label = {Term("in", zoning.label, frozenset({each})) for each in zoning.named}
    if by_label:
        by_label.add(Term("has", zoning.label))
        terms[zoning.label] = terms.get(zoning.label, set()) | by_label
    values = {key: _values(key, tests) for key, tests in sorted(terms.items())}
    count = 1
    for some in values.values():
        count *= len(some)
    if count > MOST:
        raise UnreadableError(f"policies tell pods apart by more than {MOST:,} combinations")
    found: dict[tuple[str | None, tuple[bool, ...]], list[Labels]] = {}
    given = {_ORCHESTRATOR: "k8s", _NAMESPACE: "a namespace"}
    for some in product(*values.values()):
        own = zip(values, some, strict=True)
        labels = given | {key: value for key, value in own if value is not None}
        judged = tuple(each.matches(labels) for each in texts.values())
        found.setdefault((zoning.zone_of(labels), judged), []).append(labels)
    named = {value for tests in terms.values() for term in tests for value in term.values}
    return PodKinds(
        tuple(PodKind(zone, tuple(labels)) for (zone, _), labels in found.items()),
        values,
        frozenset(each for some in values.values() for each in some if each is not None) - named,
        dict(_alike(terms, values)),
    )


def _alike(
    terms: Mapping[str, Iterable[Term]], values: Mapping[str, Iterable[str | None]]
) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    for key, tests in terms.items():
        for one in values[key]:
            if one is not None:
                passed = [each.holds({key: one}) for each in tests]
                yield (
                    (key, one),
                    tuple(
                        sorted(
                            value
                            for value in {value for each in tests for value in each.values}
                            if [each.holds({key: value}) for each in tests] == passed
                        )
                    ),
                )


def _texts(document: Mapping[str, Any]) -> Iterable[str]:
    """The selectors of a policy that may select pods."""
    if document["kind"] not in POLICY_KINDS:
        return
    spec = document["spec"]
    yield spec["selector"]
    for direction in DIRECTIONS:
        for rule in spec.get(direction, ()):
            for end in (rule.get("source") or {}, rule.get("destination") or {}):
                # What is in no namespace is no pod.
                if end.get("namespaceSelector") != "global()":
                    yield from filter(None, (end.get("selector"), end.get("notSelector")))


def _read(text: str) -> Selector:
    try:
        return selector(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"the selector {text[:200]!r} cannot be read") from error


def _terms(tree: Tree) -> Iterable[Term]:
    if isinstance(tree, Term):
        return (tree,)
    return chain.from_iterable(map(_terms, tree[1:]))


def _values(key: str, tests: Iterable[Term]) -> tuple[str | None, ...]:
    """Values of a label that pass the tests in every possible way, one for each; None: absent."""
    ordered = sorted(tests, key=lambda each: (each.kind, sorted(each.values)))
    if key == _ORCHESTRATOR:
        return ("k8s",)
    candidates: list[str | None] = [] if key == _NAMESPACE else [None]
    candidates += sorted({value for each in ordered for value in each.values})
    candidates += _made(ordered)
    found: dict[tuple[bool, ...], str | None] = {}
    for value in candidates:
        labels = {} if value is None else {key: value}
        found.setdefault(tuple(each.holds(labels) for each in ordered), value)
    return tuple(found.values())


def _made(tests: Sequence[Term]) -> Iterable[str]:
    """Values that pass some tests of their content, and no others that these do not imply."""
    partial = [each for each in tests if each.kind in ("contains", "starts", "ends")]
    if len(partial) > _MOST_TESTS:
        raise UnreadableError(f"selectors ask for more than {_MOST_TESTS} parts of one label")
    used = {letter for each in tests for value in each.values for letter in value}
    between = next(letter for letter in map(chr, range(0x2460, 0x3000)) if letter not in used)
    for number in range(len(partial) + 1):
        for some in combinations(partial, number):
            by_kind: dict[str, list[str]] = {"starts": [], "contains": [], "ends": []}
            for each in some:
                by_kind[each.kind] += each.values
            first = max(by_kind["starts"], key=len, default="")
            last = max(by_kind["ends"], key=len, default="")
            yield between.join([first, "", *by_kind["contains"], "", last])
