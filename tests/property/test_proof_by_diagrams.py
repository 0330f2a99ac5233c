"""Two lists are equal by the proof exactly where they are equal as decision diagrams.

The proof compares the firewall's rulebase and Calico's policies by laying boxes beside each other;
here each becomes one diagram of all flows, for rulebases too large for every flow to be tried. Both
begin with the same entries: what these stand for is tested elsewhere
(`tests/property/test_proof_property.py`), how lists of them are compared is tested here.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Literal, NamedTuple

import orjson
import pytest

from sync.firewall.services import Traffic
from sync.firewall.zone_networks import Derived
from sync.net.addresses import EVERYWHERE, AddressSet, network
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.translate.compiler import Options
from sync.translate.network_sets import Target
from sync.verify.calico_semantics import Direction, Policies
from sync.verify.compare import Pods, RuleLists
from sync.verify.essentials import essential_policies
from sync.verify.firewall_semantics import Rulebase
from sync.verify.packet_space import Entry
from sync.verify.profiles import DeviceGroup, Profiles, UnreadableError, networks_of, zones_named
from sync.verify.proof import prove
from sync.verify.settings import Settings
from tests import words
from tests.naive.diagrams import Space
from tests.property.test_proof_property import (
    KINDS,
    Document,
    Mutator,
    NoPlaceError,
    documents_of,
    groups_of,
    settings_of,
)
from tests.property.test_translation_property import judged
from tests.translation import translate
from tests.words import Word

DIRECTIONS: tuple[Direction, Direction] = ("egress", "ingress")
# How many rules, and a seed: some know the pods' networks and some do not, and the default route is
# configured, from templates, or unknown.
HARD = [(100, 0), (100, 1), (200, 1), (300, 1)]
# By how much a small case is multiplied, its seed, and whether it is tame.
SEVERAL = [(12, 1, True), (8, 1, False), (20, 5, False)]
MANY_SEEDS = range(100, 106)


# --- clusters -------------------------------------------------------------------------------------


class Key(NamedTuple):
    """One pair of lists: a profile's pods under the policies of a tier, in one direction."""

    tier: str
    who: str
    bit: int
    direction: Direction


@dataclass(frozen=True)
class Cluster:
    """What a cluster stands for, and what was written for it."""

    groups: Sequence[DeviceGroup]
    settings: Settings
    written: Sequence[Document]

    def documents(self) -> list[Document]:
        """What was written, to be changed at will."""
        found: list[Document] = orjson.loads(orjson.dumps(list(self.written)))
        return found

    @cached_property
    def named(self) -> dict[str, frozenset[str]]:
        return {group.tier: zones_named(group) for group in self.groups}

    @cached_property
    def profiles(self) -> Profiles:
        zones = self.settings.zones
        return Profiles(frozenset(zones.definitions).union(*self.named.values()), zones)

    @cached_property
    def wanted(self) -> dict[Key, list[Entry]]:
        """What the firewall decides."""
        profiles, settings = self.profiles, self.settings
        everyone: dict[Key, list[Entry]] = {}
        for group in self.groups:
            own = self.named[group.tier]
            elsewhere = frozenset[str]().union(*self.named.values()) - own
            rulebase = Rulebase(
                group,
                networks_of(group, settings.zones, elsewhere),
                profiles,
                settings.rules,
                settings.zones,
                registered_known=settings.registered_known,
            )
            for zone, bit in profiles.zones.items():
                for direction in DIRECTIONS:
                    key = Key(group.tier, f"a pod of zone {zone}", bit, direction)
                    if zone in own:
                        everyone[key] = [*rulebase.decided(zone, direction)]
                    elif zone in elsewhere:
                        everyone[key] = [self.everything("allow")]
            for bit, entry in (
                (profiles.unknown_label, self.everything("deny")),
                (profiles.unzoned, self.everything("allow")),
            ):
                (who,) = profiles.names(bit)
                for direction in DIRECTIONS:
                    everyone[Key(group.tier, who, bit, direction)] = [entry]
        return {key: said for key, said in everyone.items() if not key.bit & profiles.impossible}

    def said(self, documents: Sequence[Document]) -> dict[Key, list[Entry]]:
        """What Calico decides; `UnreadableError` where nobody says."""
        zoned = self.profiles.unknown_label - 1
        tiers = [each for each in documents if each["kind"] == "Tier"]
        last = max(tiers, key=lambda each: each["spec"]["order"])["metadata"]["name"]
        found = {}
        for group in self.groups:
            tier = group.tier
            policies = Policies(tier, documents, self.profiles, last=tier == last)
            essentials = essential_policies(tier, documents, self.settings.zones.essentials)
            for key in self.wanted:
                if key.tier == tier:
                    skipped = essentials if key.bit & zoned else frozenset[str]()
                    said = policies.said_to(key.bit, key.direction, skipped)
                    found[key] = [self.everything("allow")] if said is None else said
        return found

    def everything(self, action: Literal["allow", "deny"]) -> Entry:
        everyone = ((self.profiles.everyone, EVERYWHERE),)
        return Entry(EVERYWHERE, everyone, (Traffic(),), action, f"{action} everything")


# --- hard rulebases -------------------------------------------------------------------------------

# The last one's networks are what no other zone holds.
ZONES = (*(f"zone-{number:02}" for number in range(11)), "outside")
PODS = ("10.16.0.0/14", "100.64.0.0/10", "2001:db8:1::/48", "fd00::/64")
_DEFAULT = ("0.0.0.0/0", "::/0")


@cache
def hard(size: int, seed: int) -> Cluster:
    """A cluster of this many rules that lie over one another, few of which decide much alone."""
    writer = _Writer(Random(f"{size} {seed}"))
    seen = words.seen_by("dg", {"dg": writer.words(size)})
    zones, derived = writer.zones()
    rules = RuleOptions()
    pods = AddressSet.union(map(network, PODS)) if writer.chance(0.5) else None
    options = Options((), True, (), rules, zones, pods)
    target = Target("main", seen, "fw", 101, "enforced", derived)
    translated = translate("cluster", [target], options, {})
    return Cluster(
        [DeviceGroup("main", seen, derived, "fw")],
        Settings(rules, zones, pods),
        [each.document() for each in translated.manifests.values()],
    )


@cache
def several(size: int, seed: int, *, tame: bool) -> Cluster:
    """A cluster of the cases that are small otherwise: two device groups, and all that is rare."""
    one = judged.__wrapped__(seed, tame=tame, size=size)
    return Cluster(groups_of(one), settings_of(one), documents_of(one))


class _Writer:
    """Writes one rulebase: a few zones, objects and services stand in most rules."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._addresses: list[str] = []
        self._groups: list[str] = []
        self._services = ["service-http", "service-https"]

    def chance(self, of: float) -> bool:
        return self._random.random() < of

    def some(self, names: Sequence[str], most: int) -> list[str]:
        """The first far more often than the last."""
        drawn = (
            names[int(len(names) * self._random.random() ** 2)]
            for _ in range(self._random.randint(1, most))
        )
        return list(dict.fromkeys(drawn))

    def zones(self) -> tuple[ZoneOptions, Derived]:
        """Settings, and what templates say: one of the two has the default route, or neither."""
        random = self._random
        networks: dict[str, tuple[str, ...]] = {
            name: (f"10.{16 * at}.0.0/12", f"2001:db8:{at}::/48")
            for at, name in enumerate(ZONES[:-1])
        }
        # A zone within another one's networks, and one outside all others.
        networks[ZONES[3]] += ("10.4.0.0/16", "2001:db8:0:8::/61")
        networks[ZONES[4]] += ("192.0.2.0/24",)
        known = {name: ZoneDefinition(networks=each) for name, each in networks.items()}
        if self.chance(0.5):
            known[ZONES[1]] = ZoneDefinition("app == 'web'", "", networks[ZONES[1]])
            known[ZONES[2]] = ZoneDefinition("", "env == 'prod'", networks[ZONES[2]])
        derived = Derived((), {}, {})
        default = random.choice(("configured", "derived", "unknown"))
        if default == "configured":
            known[ZONES[-1]] = ZoneDefinition(networks=_DEFAULT)
        elif default == "derived":
            derived = Derived(ZONES[-1:], {ZONES[-1]: _DEFAULT}, {}, {ZONES[-1]: _DEFAULT})
        return (
            ZoneOptions(
                trust_addresses=self.chance(0.3),
                unzoned_pods=random.choice(("pass", "deny")),
                unknown_addresses=random.choice(("deny", "pass")),
                definitions=known,
            ),
            derived,
        )

    def words(self, size: int) -> list[Word]:
        made = [self._address(f"net-{at}") for at in range(60)]
        made += [self._group(f"group-{at}") for at in range(25)]
        made += [self._service(f"service-{at}") for at in range(20)]
        made += [self._rule(f"rule {at}") for at in range(size)]
        return sorted(made, key=lambda word: word.place)

    # --- objects ----------------------------------------------------------------------------------

    def _address(self, name: str) -> Word:
        self._addresses.append(name)
        value = self._net()
        return words.address(name, value, kind="ip-range" if "-" in value else "ip-netmask")

    def _net(self) -> str:
        random = self._random
        # Pods and zones lie low, so that most nets meet others.
        v4 = int(IPv4Address("10.0.0.0")) + int(random.random() ** 2 * (1 << 23))
        v6 = int(IPv6Address("2001:db8::")) + (int(random.random() ** 2 * (1 << 18)) << 64)
        return random.choice(
            (
                f"{IPv4Address(v4)}",
                f"{IPv4Address(v4)}/{random.randint(9, 30)}",
                f"{IPv4Address(v4)}/{random.randint(9, 16)}",
                f"{IPv4Address(v4)}-{IPv4Address(v4 + random.randrange(1 << 20))}",
                f"{IPv6Address(v6)}/{random.randint(44, 64)}",
                f"{IPv6Address(v6)}-{IPv6Address(v6 + random.randrange(1 << 80))}",
                # To a firewall it holds IPv4 addresses too.
                f"::{IPv4Address(v4)}/{random.randint(104, 112)}",
                random.choice(("192.0.2.0/25", "224.0.0.0/5", "198.51.100.7", "ff02::/16")),
            )
        )

    def _group(self, name: str) -> Word:
        listed = [*self.some(self._addresses, 4), *self.some(self._addresses, 2)]
        listed += self.some(self._groups, 1) if self._groups and self.chance(0.4) else []
        self._groups.append(name)
        return words.group(name, *dict.fromkeys(listed))

    def _service(self, name: str) -> Word:
        self._services.append(name)
        random = self._random
        first = int(random.random() ** 2 * 60000)
        port = random.choice(
            (f"{first}", f"{first}-{first + random.randrange(5000)}", f"{first},{first + 7}", "443")
        )
        source = random.choice(("1024-65535", "53", "1-1023")) if self.chance(0.2) else ""
        return words.service(name, port, random.choice(("tcp", "tcp", "udp")), source)

    # --- rules ------------------------------------------------------------------------------------

    def _rule(self, name: str) -> Word:
        random = self._random
        lists: dict[str, Sequence[str] | str] = {
            "from_": self._zones_of_rule(),
            "to": ["multicast"] if self.chance(0.02) else self._zones_of_rule(),
            "source": self._ends(0.3),
            "destination": self._ends(0.2),
            "service": ["any"] if self.chance(0.15) else self.some(self._services, 3),
            "application": ["any"],
            "action": random.choice(("allow", "allow", "allow", "deny", "drop")),
        }
        if self.chance(0.1):
            lists["service"] = ["application-default"]
            lists["application"] = self.some(("ping", "dns", "ssl", "ssh"), 2)
        for end in ("source", "destination"):
            # What a negated list leaves is nearly everything: few rules come to anything behind it.
            if self.chance(0.06):
                lists[f"negate_{end}"] = "yes"
        if self.chance(0.3):
            lists["rule_type"] = random.choice(("intrazone", "interzone", "universal"))
        if self.chance(0.04):
            lists["disabled"] = "yes"
        return words.rule(name, rulebase=random.choice(("pre", "post")), **lists)

    def _zones_of_rule(self) -> list[str]:
        return ["any"] if self.chance(0.2) else self.some(ZONES, 3)

    def _ends(self, any_: float) -> list[str]:
        if self.chance(any_):
            return ["any"]
        listed = self.some([*self._groups, *self._addresses], 3)
        return [*listed, self._net()] if self.chance(0.2) else listed


# --- comparisons ----------------------------------------------------------------------------------

Outcome = Literal["equal", "apart", "undecided"]


def outcome(cluster: Cluster, key: Key, said: Sequence[Entry], wrong: list[str]) -> Outcome:
    """How two lists compare; `wrong` gets what diagrams and proof disagree on."""
    wanted, profiles, pods = cluster.wanted[key], cluster.profiles, cluster.settings.pods
    lists = RuleLists(key.who, key.direction, wanted, said, profiles, Pods(profiles, pods))
    found, because = lists.differences()
    space = Space([*wanted, *said], profiles, pods)
    firewall, calico = space.decided(wanted), space.decided(said)
    apart = {
        action: diagram & ~firewall.verdicts[action] for action, diagram in calico.verdicts.items()
    }
    for action, diagram in apart.items():
        if not because and diagram.satisfiable() != any(each.calico == action for each in found):
            wrong.append(
                f"\n{key}: found are {found}, but Calico: {action}, {space.shown(diagram)}"
            )
    for each in found:
        flow = space.assigned(each.flow)
        if not apart[each.calico].eval(flow) or each.flow.local_address == each.flow.far_address:
            wrong.append(f"\n{key}: no difference: {each}")
            continue
        judged_by, said_by = firewall.by(flow), calico.by(flow)
        if (judged_by.action, judged_by.rule) != (each.firewall, each.rule):
            wrong.append(f"\n{key}: {judged_by.rule} decides on the firewall: {each}")
        if (said_by.action, said_by.rule) != (each.calico, each.says):
            wrong.append(f"\n{key}: {said_by.rule} decides in Calico: {each}")
    if any(diagram.satisfiable() for diagram in apart.values()):
        return "apart"
    return "undecided" if because else "equal"


# --- mistakes -------------------------------------------------------------------------------------


class Mistakes(Mutator):
    """Mistakes anywhere; neighbours are swapped where they decide otherwise."""

    def __init__(self, random: Random, documents: list[Document]) -> None:
        super().__init__(random, documents, {})
        self._deciding = {
            f"{policy['metadata']['name']}[{direction} {at}]": True
            for policy in self.policies
            for direction in DIRECTIONS
            for rules in (policy["spec"].get(direction, ()),)
            for at in range(len(rules) - 1)
            if rules[at]["action"] != rules[at + 1]["action"]
        }

    def rule_missing(self) -> None:
        rules, at = next(self.places())
        del rules[at]

    def net_added(self) -> None:
        nets: list[str] = self.one_of(
            each["spec"]["nets"] for each in self.sets if each["spec"].get("nets")
        )
        nets.append(f"10.{self._random.randrange(128)}.0.0/{self._random.randint(16, 24)}")

    def family_added(self) -> None:
        # A rule that decides all leaves something to what comes behind it then.
        plain = ("source", "destination", "protocol", "ipVersion")
        self.rule(lambda each: not any(map(each.get, plain)))["ipVersion"] = 4

    # --- what is no mistake -----------------------------------------------------------------------

    def mapped_net_added(self) -> None:
        self._add_first({"nets": ["::ffff:0:0/97"]}, {})

    def address_to_itself(self) -> None:
        address = {"nets": [f"10.{self._random.randrange(128)}.0.1/32"]}
        self._add_first(address, address)

    def _add_first(self, source: Document, destination: Document) -> None:
        rule = {"action": "Deny", "source": source, "destination": destination}
        self._chain().insert(0, rule)

    def _chain(self) -> list[Document]:
        return self.one_of(
            policy["spec"][direction]
            for policy in self.policies
            for direction in DIRECTIONS
            if policy["spec"].get(direction)
        )


MISTAKES: dict[str, Callable[[Mistakes], None]] = {
    **KINDS,
    **{
        each.__name__: each
        for each in (
            Mistakes.rule_missing,
            Mistakes.net_added,
            Mistakes.family_added,
            Mistakes.mapped_net_added,
            Mistakes.address_to_itself,
        )
    },
}
# After these two lists are much alike still; of others the proof of a large one may say nothing.
SLIGHT = (
    "neighbours_swapped",
    "negation_dropped",
    "negation_added",
    "ports_widened",
    "ports_dropped",
    "net_grown",
    "net_lost",
    "net_added",
    "action_turned",
    "protocol_dropped",
    "rule_missing",
    "family_added",
    "mapped_net_added",
    "address_to_itself",
)
EACH = [(kind,) for kind in MISTAKES]


def compared(
    cluster: Cluster, mutants: Sequence[Sequence[str]], seed: int, most: int
) -> tuple[Counter[str], list[str]]:
    """How lists compare that mistakes change, and what is wrong with that.

    Each mutant has a mistake of each of some kinds, most of them in different lists; of the lists
    that are changed at most so many are compared.
    """
    random = Random(seed)
    before = cluster.said(cluster.written)
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    for kinds in mutants:
        mistakes = Mistakes(random, cluster.documents())
        for kind in kinds:
            with suppress(NoPlaceError):
                MISTAKES[kind](mistakes)
        try:
            said = cluster.said(mistakes.documents)
        except UnreadableError:
            continue
        changed = [key for key, entries in said.items() if entries != before[key]]
        complaints: list[str] = []
        outcomes = Counter(
            outcome(cluster, key, said[key], complaints)
            for key in random.sample(changed, min(most, len(changed)))
        )
        wrong += [f"\n{', '.join(kinds)}: {each}" for each in complaints]
        counted.update(outcomes)
        proven = prove(cluster.groups, mistakes.documents, cluster.settings).holds
        if proven and outcomes.keys() - {"equal"}:
            wrong.append(f"\n{', '.join(kinds)}: proven")
    return counted, wrong


# --- what must hold -------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "seed"), HARD)
def test_what_is_written_is_equal_as_diagrams(size: int, seed: int) -> None:
    assert_equal(hard(size, seed))
    assert len(deciding(hard(size, seed))) > size / 2


@pytest.mark.parametrize(("size", "seed", "tame"), SEVERAL)
def test_what_is_written_of_several_device_groups_is_equal(
    size: int, seed: int, tame: bool
) -> None:
    assert_equal(several(size, seed, tame=tame))


@pytest.mark.parametrize(("size", "seed"), HARD)
def test_a_mistake_is_a_difference_exactly_where_the_diagrams_differ(size: int, seed: int) -> None:
    counted, wrong = compared(hard(size, seed), [SLIGHT] * 2, seed, most=12)
    assert not "".join(wrong)
    assert min(counted["apart"], counted["equal"]) > 1
    assert not counted["undecided"]


@pytest.mark.parametrize(("size", "seed", "tame"), SEVERAL)
def test_the_same_of_several_device_groups(size: int, seed: int, tame: bool) -> None:
    counted, wrong = compared(several(size, seed, tame=tame), EACH, seed, most=2)
    assert not "".join(wrong)
    assert counted["apart"]
    assert counted["equal"]


def test_a_difference_is_shown_between_two_addresses() -> None:
    profiles = Profiles((), ZoneOptions())
    everyone = ((profiles.everyone, EVERYWHERE),)
    rest = Entry(EVERYWHERE, everyone, (Traffic(),), "deny", "rest")
    far = ((profiles.everyone, network("10.0.0.0/32")),)
    more = Entry(network("10.0.0.0/31"), far, (Traffic(),), "allow", "more", "fw.web[egress 0]")
    lists = RuleLists("a pod", "egress", [rest], [more, rest], profiles, Pods(profiles, None))
    (found,), _ = lists.differences()
    assert found.flow.local_address == (4, 0x0A000001)
    assert found.flow.far_address == (4, 0x0A000000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY_SEEDS)
@pytest.mark.parametrize("size", [100, 200, 300])
def test_the_same_of_many_more(size: int, seed: int) -> None:
    for cluster in (
        hard.__wrapped__(size, seed),
        several.__wrapped__(size // 10, seed, tame=True),
        several.__wrapped__(size // 10, seed, tame=False),
    ):
        assert_equal(cluster)
        _, wrong = compared(cluster, [*EACH, *[SLIGHT] * 5], seed, most=4)
        assert not "".join(wrong)


def assert_equal(cluster: Cluster) -> None:
    wrong: list[str] = []
    said = cluster.said(cluster.written)
    assert {outcome(cluster, key, said[key], wrong) for key in said} == {"equal"}
    assert not wrong
    # What is compared here is all that the proof compares.
    proof = prove(cluster.groups, cluster.written, cluster.settings)
    assert proof.holds
    assert proof.lists == len(said)
    assert proof.rules == sum(map(len, said.values()))


def deciding(cluster: Cluster) -> set[str]:
    """The firewall's rules that decide any flow of any pod."""
    profiles, pods = cluster.profiles, cluster.settings.pods
    lists = cluster.wanted.values()
    return set[str]().union(
        *(Space(entries, profiles, pods).decided(entries).rules() for entries in lists)
    )
