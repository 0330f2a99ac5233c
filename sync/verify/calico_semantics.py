"""The verdicts of written policies, as lists of boxes: one for each profile and direction.

Read from `projectcalico/calico`: policy by policy, rule by rule, and the default action of the tier
where a policy of it selects the pod and no rule matched (`felix/rules/endpoints.go`,
`felix/calc/policy_sorter.go`). The selectors of an end are folded into one question about single
objects (`felix/calc/rule_scanner.go`), and it matches if any object that has the address, a pod or
a network set, is what is asked for. A staged policy counts as if it were enforced.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal

from sync.calico.names import RULE_ANNOTATION
from sync.firewall.services import ICMP, ICMPV6, Traffic
from sync.net.addresses import EVERYWHERE, AddressSet
from sync.options import ZoneOptions
from sync.verify.calico_documents import (
    ENTITY_KEYS,
    POLICY_KINDS,
    PROTOCOLS,
    RULE_KEYS,
    STAGED,
    nets_of,
    place_of,
    ports_of,
    require_judged,
    require_readable,
    set_of,
    without_ports,
)
from sync.verify.packet_space import FAMILIES, PORTED, Ends, Entry, Family
from sync.verify.profiles import Profiles, UnreadableError
from sync.verify.selectors import Term, Tree, selector

Direction = Literal["egress", "ingress"]
DIRECTIONS: Final[tuple[Direction, Direction]] = ("egress", "ingress")


@dataclass(frozen=True, slots=True)
class Selecting:
    """A policy that selects some pods, or may; `surely` says which."""

    document: Mapping[str, Any]
    surely: bool

    @property
    def name(self) -> str:
        name: str = self.document["metadata"]["name"]
        return name

    @property
    def staged(self) -> bool:
        """Whether it decides nothing yet."""
        return bool(self.document["kind"] == STAGED)


class Policies:
    """The written policies of one tier, over the sets of the cluster."""

    def __init__(
        self,
        tier: str,
        documents: Iterable[Mapping[str, Any]],
        profiles: Profiles,
        *,
        last: bool,
    ) -> None:
        """`last`: no tier of ours comes later, so an Allow here skips none.

        `UnreadableError` for a document that cannot be judged.
        """
        self._actions = ("Allow", "Pass", "Deny") if last else ("Pass", "Deny")
        self._tier = tier
        self._profiles = profiles
        self._sets: list[tuple[Mapping[str, str], AddressSet]] = []
        self._policies: list[tuple[Mapping[str, Any], int, int]] = []
        self._default = "Pass"
        written = []
        for document in documents:
            kind, spec = document["kind"], document["spec"]
            if kind == "GlobalNetworkSet":
                self._sets.append(set_of(document))
            elif kind in POLICY_KINDS and spec.get("tier") == tier:
                require_judged(document)
                written.append(document)
            elif kind == "Tier" and document["metadata"]["name"] == tier:
                self._default = spec.get("defaultAction") or "Deny"
        self._labelled: dict[tuple[str, str], list[int]] = {}
        for number, (labels, _) in enumerate(self._sets):
            for pair in labels.items():
                self._labelled.setdefault(pair, []).append(number)
        self._selected: dict[str, AddressSet] = {}
        self._ends: dict[tuple[bytes, bool], tuple[Ends, bool]] = {}
        self._near: dict[bytes, AddressSet] = {}
        self._rules: dict[tuple[str, str, Direction], list[Entry]] = {}
        for document in sorted(written, key=place_of):
            surely, maybe = profiles.asked(document["spec"]["selector"])
            self._policies.append((document, surely, maybe))

    def said_to(
        self, profile: int, direction: Direction, skipping: frozenset[str]
    ) -> list[Entry] | None:
        """The rules that apply to pods of a profile, in their order.

        `skipping` are policies that do not count. None if no policy selects them.
        """
        found: list[Entry] = []
        selected = skipped = False
        for policy in self.selecting(profile, direction):
            if policy.name in skipping:
                skipped = True
                continue
            if not policy.surely:
                found.append(_unknown(policy.name, direction))
                return found
            selected = True
            found += self._said(policy, direction)
        if not selected:
            # Where those that do not count select pods, the tier's default is for these.
            return (
                [_unknown(self._tier, direction)] if skipped and self._default == "Deny" else None
            )
        return [*found, self.default]

    def selecting(self, profile: int, direction: Direction) -> Iterator["Selecting"]:
        """The policies that select pods of a profile, or may, in their order."""
        for document, surely, maybe in self._policies:
            if maybe & profile and direction.capitalize() in document["spec"]["types"]:
                yield Selecting(document, bool(surely & profile))

    def bounds(
        self, policy: "Selecting", direction: Direction
    ) -> Iterator[tuple[Entry | None, Entry | None]]:
        """What each rule of a policy surely matches, and what it may match; None for nothing.

        The two differ where a selector uses labels that no zone has.
        """
        for index, rule in enumerate(policy.document["spec"].get(direction, ())):
            where = f"{policy.name}[{direction} {index}]"
            perhaps = self._rule(rule, where, direction, at_most=True)
            surely = perhaps
            if perhaps and perhaps.rough:
                surely = self._rule(rule, where, direction, at_most=False)
            yield surely, perhaps

    @property
    def default(self) -> Entry:
        """The default action of the tier, for pods that one of its policies selects."""
        whole: Ends = ((self._profiles.everyone, EVERYWHERE),)
        action: Literal["allow", "deny"] = "deny" if self._default == "Deny" else "allow"
        where = f"the default of tier {self._tier}"
        return Entry(EVERYWHERE, whole, (Traffic(),), action, "", where)

    def _said(self, policy: "Selecting", direction: Direction) -> list[Entry]:
        key = (policy.document["kind"], policy.name, direction)
        if key not in self._rules:
            rules = policy.document["spec"].get(direction, ())
            self._rules[key] = [
                said
                for index, rule in enumerate(rules)
                for said in [self._rule(rule, f"{policy.name}[{direction} {index}]", direction)]
                if said
            ]
        return self._rules[key]

    def _rule(
        self,
        rule: Mapping[str, Any],
        where: str,
        direction: Direction,
        *,
        at_most: bool | None = None,
    ) -> Entry | None:
        """One rule; None if it can match nothing.

        `at_most`: what it may match, not what it surely matches; else the former for an allow and
        the latter for a deny.
        """
        near, far = rule.get("source") or {}, rule.get("destination") or {}
        ports, source_ports = ports_of(far), ports_of(near)
        if direction == "ingress":
            near, far = far, near
        families: tuple[Family, ...] = FAMILIES
        if "ipVersion" in rule:
            families = (rule["ipVersion"],)
        allow = rule.get("action") != "Deny"
        local = self._near_end(near)
        ends, rough = self._far_end(far, at_most=allow if at_most is None else at_most)
        protocol = rule.get("protocol")
        if isinstance(protocol, str):
            protocol = PROTOCOLS.get(protocol, -1)
        self._require_judged_rule(rule, where, protocol, ported=bool(ports or source_ports))
        # A deny that surely matches nothing stays, since it may match something.
        if not local or not (ends or (rough and not allow)):
            return None
        icmp = rule.get("icmp")
        annotations = rule.get("metadata", {}).get("annotations", {})
        traffic = Traffic(
            protocol,
            ports,
            source_ports,
            (icmp["type"], icmp.get("code")) if icmp else None,
        )
        return Entry(
            local,
            ends,
            (traffic,),
            "allow" if allow else "deny",
            annotations.get(RULE_ANNOTATION, ""),
            where,
            families,
            rough=rough,
        )

    def _require_judged_rule(
        self, rule: Mapping[str, Any], where: str, protocol: int | None, *, ported: bool
    ) -> None:
        """Require that a rule has only fields that are judged here."""
        entities = (rule.get("source") or {}).keys() | (rule.get("destination") or {}).keys()
        unjudged = rule.keys() - RULE_KEYS | entities - ENTITY_KEYS
        icmp = rule.get("icmp")
        if (
            unjudged
            or rule.get("action") not in self._actions
            or protocol == -1
            or (icmp and (protocol not in (ICMP, ICMPV6) or "type" not in icmp))
            or (ported and protocol not in PORTED)
        ):
            said = ", ".join(sorted(unjudged)) or "something"
            raise UnreadableError(f"{where} holds {said}, which is not judged")

    def _near_end(self, entity: Mapping[str, Any]) -> AddressSet:
        """The addresses of the selected pods that the near side of a rule matches."""
        key = without_ports(entity)
        if key not in self._near:
            found = nets_of(entity)
            if any(name.endswith("elector") for name in entity):
                (surely, maybe), sets, negated = self._objects(entity)
                if surely or maybe:
                    raise UnreadableError("a rule selects by labels of its own pods")
                found = found - sets if negated else found & sets
            self._near[key] = found
        return self._near[key]

    def _far_end(self, entity: Mapping[str, Any], *, at_most: bool) -> tuple[Ends, bool]:
        """The far ends that a rule may match at most, or surely matches.

        True beside it where the two are not the same: then a selector uses labels that no zone has.
        """
        key = (without_ports(entity), at_most)
        if key not in self._ends:
            self._ends[key] = self._read_far_end(entity, at_most=at_most)
        return self._ends[key]

    def _read_far_end(self, entity: Mapping[str, Any], *, at_most: bool) -> tuple[Ends, bool]:
        nets = nets_of(entity)
        everyone = self._profiles.everyone
        if not any(name.endswith("elector") for name in entity):
            return (((everyone, nets),) if nets else ()), False
        (surely, maybe), sets, negated = self._objects(entity)
        pods = maybe if at_most != negated else surely
        if negated:
            found = [(everyone & ~pods, nets - sets)]
        else:
            found = [(pods, nets), (everyone & ~pods, nets & sets)]
        return tuple((bits, held) for bits, held in found if bits and held), surely != maybe

    def _objects(self, entity: Mapping[str, Any]) -> tuple[tuple[int, int], AddressSet, bool]:
        """The profiles of pods, surely and maybe, and the addresses of sets, that selectors select.

        True: all but those. Felix folds the selectors of an end into one question about single
        objects.
        """
        positive, negative = entity.get("selector", ""), entity.get("notSelector", "")
        namespaces = entity.get("namespaceSelector", "")
        if namespaces not in ("", "global()"):
            raise UnreadableError(f"the namespaceSelector {namespaces!r} is not judged")
        if bool(positive) == bool(negative) or (namespaces and not positive):
            raise UnreadableError("a rule does not have one selector, or one negated selector")
        text = positive or negative
        # What is in no namespace is not a pod.
        pods = (0, 0) if namespaces else self._profiles.asked(text)
        return pods, self._addresses(text), bool(negative)

    def _addresses(self, text: str) -> AddressSet:
        """The addresses of all sets that a selector selects."""
        if text not in self._selected:
            asked = selector(text)
            candidates = self._candidates(asked.tree())
            numbers = range(len(self._sets)) if candidates is None else sorted(candidates)
            self._selected[text] = AddressSet.union(
                self._sets[number][1] for number in numbers if asked.matches(self._sets[number][0])
            )
        return self._selected[text]

    def _candidates(self, tree: Tree) -> set[int] | None:
        """The sets that a selector may select at most; None: any."""
        if isinstance(tree, Term):
            if tree.kind != "in":
                return None
            return {
                number
                for value in tree.values
                for number in self._labelled.get((tree.key, value), ())
            }
        if len(tree) == 2:
            return None
        left, right = self._candidates(tree[1]), self._candidates(tree[2])
        if tree[0] == "||":
            return None if left is None or right is None else left | right
        if left is None or right is None:
            return right if left is None else left
        return left & right


def as_read(document: Mapping[str, Any], last_tier: str) -> Mapping[str, Any]:
    """A document, which may be foreign, with Calico's defaults for omitted fields.

    A policy or a tier without an order is the last one, a policy without a selector is for all, and
    one without types for the directions of its rules (`libcalico-go/lib/apis/v3`,
    `globalnetworkpolicy.go`). `UnreadableError` for what is not an object that can be judged, where
    `last_tier` is the last one of ours.
    """
    if not isinstance(document.get("spec"), Mapping):
        raise UnreadableError("it has no spec that can be read")
    try:
        given = {key: each for key, each in document["spec"].items() if each is not None}
        if document["kind"] not in POLICY_KINDS:
            require_readable(document, given.get("order", inf))
            return {**document, "spec": {"order": inf, **given}}
        spec = {"order": inf, "tier": "default", **given}
        spec["selector"] = given.get("selector") or "all()"
        egress = ["Egress"] if given.get("egress") else []
        usual = [*egress, "Ingress"] if given.get("ingress") or not egress else egress
        spec["types"] = given.get("types") or usual
        found = {**document, "spec": spec}
        # Rules are read when they are asked for; here all are.
        last = spec["tier"] == last_tier
        alone = Policies(spec["tier"], [found], Profiles((), ZoneOptions()), last=last)
        for direction in DIRECTIONS:
            for policy in alone.selecting(-1, direction):
                for _ in alone.bounds(policy, direction):
                    pass
    except UnreadableError:
        raise
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UnreadableError(f"it is malformed ({type(error).__name__}: {error})") from error
    return found


def _unknown(name: str, direction: Direction) -> Entry:
    return Entry(EVERYWHERE, ((-1, EVERYWHERE),), (Traffic(),), "", "", f"{name}[{direction}]")
