"""Small configurations from a seed, and what becomes of them: all kinds of changes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.reconcile.device_groups import TierBinding
from tests.transitions import ADDRESSES, LABEL, NETWORKS, Firm, Says

GROUPS = tuple(f"g{number}" for number in range(4))
ZONES = ("web", "db", "users", "lab")
_ADDRESSES = tuple(ADDRESSES)
_TAGS = ("t1", "t2")
_FILTERS = ("t1", "t1 and t2", "t1 or t2", "t1 and not t2")
_FROM_TO = (
    (("users",), ("web",)),
    (("any",), ("web",)),
    (("web",), ("users",)),
    (("web",), ("db",)),
    (("any",), ("any",)),
    (("users", "lab"), ("web", "db")),
    (("web", "db"), ("any",)),
    (("lab",), ("web",)),
)
_CLOSE = (*_FROM_TO[:5], _FROM_TO[6])
_SELECTORS = ("", "", "app == 'web'", f"{LABEL} == 'web' || app == 'web'")
_USERS = (("10.9.0.0/16",), ("10.9.0.0/17",), ("10.9.0.0/30",), ("10.9.0.0/16", "10.8.0.0/31"))
_LAB = (("10.8.0.0/16",), ("10.8.0.0/30",), ("10.8.0.0/16", "10.9.0.2/31"), ())

Change = Callable[[Firm, Random], Firm]


def drawn(random: Random, *, long: bool = False) -> Firm:
    """A configuration of one device group or of two that share most zones."""
    names = ("a",) if random.random() < 0.55 else ("a", "b")
    groups: dict[str, tuple[str, ...] | str] = {
        name: random.choice(_FILTERS) if random.random() < 0.1 else _members(random, name)
        for name in GROUPS
    }
    return Firm(
        rules={
            name: tuple(
                says(random, f"{name}{number}")
                for number in range(random.randint(14, 24) if long else random.randint(2, 5))
            )
            for name in names
        },
        groups=groups,
        tags={name: _tags(random) for name in ADDRESSES if random.random() < 0.5},
        zones={name: _zones(random) for name in names},
        here=tuple(
            TierBinding("main", name, f"tier-{name}", 101 + number, _mode(random))
            for number, name in enumerate(names)
        ),
        pods_known=random.random() < 0.7,
        rule_options=RuleOptions(
            applications="strict",
            allow_as="Allow" if len(names) == 1 and random.random() < 0.2 else "Pass",
        ),
        zone_options=ZoneOptions(
            unzoned_pods=random.choice(("pass", "deny")),
            unknown_addresses=random.choice(("deny", "deny", "pass")),
            definitions=_definitions(random),
        ),
    )


def changed(firm: Firm, random: Random, *, at_most: int = 6) -> Firm:
    """The same, in a few ways another."""
    for _ in range(random.randint(1, at_most)):
        firm = random.choice(_CHANGES)(firm, random)
    return firm


def pressed(random: Random) -> Firm:
    """A configuration whose denies and allows are about the same few hosts of the same zones."""
    firm = drawn(random)
    rules = {
        name: tuple(_closer(random, f"{name}{number}") for number in range(random.randint(3, 9)))
        for name in firm.rules
    }
    here = tuple(replace(each, mode="enforced") for each in firm.here)
    return replace(firm, rules=rules, here=here)


def pressed_on(firm: Firm, random: Random) -> Firm:
    """The same: allows hold more, denies take that back, and a few other things change."""
    for _ in range(random.randint(1, 3)):
        firm = _allows_widen_and_denies_too(firm, random)
    if random.random() < 0.4:
        firm = random.choice(_REARRANGING)(firm, random)
    return changed(firm, random, at_most=2) if random.random() < 0.6 else firm


def _closer(random: Random, name: str) -> Says:
    action: Literal["allow", "deny"] = "deny" if random.random() < 0.6 else "allow"
    from_, to = random.choice(_CLOSE)
    source, negated = _listed(random) if random.random() < 0.8 else (("any",), False)
    destination = (random.choice(("any", "any", *GROUPS)),)
    return Says(name, action, from_, to, source, destination, negated and random.random() < 0.5)


def _allows_widen_and_denies_too(firm: Firm, random: Random) -> Firm:
    """A host joins groups that rules allow, and a deny before them, or in the other tier, gains it.

    Some group loses another host.
    """
    host = random.choice(("h1", "h2", "h3", "h7", "p-db", "n-03"))
    found: dict[str, tuple[str, ...] | str] = {}
    for name in random.sample(GROUPS, random.choice((1, 1, 2, 3))):
        held = firm.groups[name]
        if not isinstance(held, str):
            less = held[1:] if len(held) > 1 and random.random() < 0.4 else held
            found[name] = tuple(dict.fromkeys((*less, host)))
    firm = _with(firm, found)
    name = random.choice(tuple(firm.rules))
    rules = list(firm.rules[name])
    denies = [at for at, rule in enumerate(rules) if rule.action == "deny"]
    if denies and random.random() < 0.5:
        at = random.choice(denies)
        rules[at] = replace(rules[at], source=_joined(rules[at].source, host))
    else:
        from_, to = random.choice(_CLOSE)
        deny = Says(f"no{random.randrange(10**6)}", "deny", from_, to, (host,))
        rules.insert(random.randint(0, len(rules) // 2), deny)
    return replace(firm, rules={**firm.rules, name: tuple(rules)})


def _joined(listed: tuple[str, ...], name: str) -> tuple[str, ...]:
    return listed if listed == ("any",) else tuple(dict.fromkeys((*listed, name)))


def says(random: Random, name: str) -> Says:
    """A rule over a few groups; most are about the same pods."""
    if random.random() < 0.6:
        source = tuple(random.sample(GROUPS, random.choice((1, 1, 2))))
        action: Literal["allow", "deny"] = random.choice(("allow", "deny"))
        negated = random.random() < 0.15
        return Says(name, action, ("users",), ("web",), source, not_source=negated)
    from_, to = random.choice(_FROM_TO)
    source, not_source = _listed(random)
    destination, not_destination = _listed(random) if random.random() < 0.2 else (("any",), False)
    return Says(
        name,
        random.choice(("allow", "allow", "deny")),
        from_,
        to,
        source,
        destination,
        not_source,
        not_destination,
        random.choice(("any", "any", "any", "service-http")),
    )


def _listed(random: Random) -> tuple[tuple[str, ...], bool]:
    if random.random() < 0.1:
        return ("any",), False
    listed = random.sample(GROUPS, random.choice((1, 1, 1, 2)))
    if random.random() < 0.2:
        listed.append(_address(random))
    return tuple(listed), random.random() < 0.2


def _members(random: Random, name: str) -> tuple[str, ...]:
    listed = [_address(random) for _ in range(random.choice((1, 1, 2, 3)))]
    if random.random() < 0.2 and (below := GROUPS[GROUPS.index(name) + 1 :]):
        listed.append(random.choice(below))
    return tuple(dict.fromkeys(listed))


def _address(random: Random) -> str:
    """One of few hosts, mostly."""
    return random.choice(("h1", "h2", "h3", "h7") if random.random() < 0.8 else _ADDRESSES)


def _tags(random: Random) -> tuple[str, ...]:
    return tuple(tag for tag in _TAGS if random.random() < 0.5)


def _zones(random: Random) -> tuple[str, ...]:
    return tuple(zone for zone in ZONES[:3] if random.random() < 0.6)


def _mode(random: Random) -> Literal["enforced", "staged"]:
    return "enforced" if random.random() < 0.85 else "staged"


def _definitions(random: Random) -> Mapping[str, ZoneDefinition]:
    found = dict(NETWORKS)
    if random.random() < 0.3:
        found["web"] = replace(found["web"], selector=random.choice(_SELECTORS))
    if random.random() < 0.3:
        found["users"] = replace(found["users"], networks=random.choice(_USERS))
    if random.random() < 0.3:
        found["lab"] = replace(found["lab"], networks=random.choice(_LAB))
    if random.random() < 0.2:
        found["db"] = replace(found["db"], networks=("0.0.0.0/0",))
    names = list(found)
    if random.random() < 0.2:
        random.shuffle(names)
    return {name: found[name] for name in names}


# --- address groups -------------------------------------------------------------------------------


def _with(firm: Firm, groups: Mapping[str, tuple[str, ...] | str]) -> Firm:
    return replace(firm, groups={**firm.groups, **groups})


def _other_members(firm: Firm, random: Random) -> Firm:
    name = random.choice(GROUPS)
    return _with(firm, {name: _members(random, name)})


def _a_host_joins_and_leaves(firm: Firm, random: Random) -> Firm:
    """One host, several groups: joined, left or changed."""
    host = _address(random)
    how = random.choice(("join", "leave", "change"))
    found: dict[str, tuple[str, ...] | str] = {}
    for name in random.sample(GROUPS, random.choice((1, 2, 2, 3))):
        held = firm.groups[name]
        if isinstance(held, str):
            continue
        if host in held and how != "join":
            found[name] = tuple(each for each in held if each != host) or ("h7",)
        elif host not in held and how != "leave":
            found[name] = (*held, host)
    return _with(firm, found)


def _groups_change_places(firm: Firm, random: Random) -> Firm:
    one, two = random.sample(GROUPS, 2)
    held, other = firm.groups[one], firm.groups[two]
    if isinstance(held, str) or isinstance(other, str):
        return firm
    # A group may hold those behind it alone.
    plain = [tuple(each for each in listed if each in ADDRESSES) for listed in (held, other)]
    return _with(firm, {one: plain[1] or ("h1",), two: plain[0] or ("h2",)})


def _a_group_is_split(firm: Firm, random: Random) -> Firm:
    """What one group held two hold, and rules that named it name both."""
    one, two = sorted(random.sample(GROUPS, 2))
    held = firm.groups[one]
    if isinstance(held, str) or len(held) < 2:
        return firm
    at = random.randint(1, len(held) - 1)
    plain = tuple(each for each in held[at:] if each in ADDRESSES)
    if not plain:
        return firm
    firm = _with(firm, {one: held[:at], two: plain})

    def both(listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*listed, two))) if one in listed else listed

    rules = {
        name: tuple(
            replace(rule, source=both(rule.source), destination=both(rule.destination))
            for rule in listed
        )
        for name, listed in firm.rules.items()
    }
    return replace(firm, rules=rules)


def _other_tags(firm: Firm, random: Random) -> Firm:
    tags = {name: _tags(random) for name in random.sample(_ADDRESSES, 3)}
    return replace(firm, tags={**firm.tags, **tags})


def _dynamic_or_static(firm: Firm, random: Random) -> Firm:
    name = random.choice(GROUPS)
    held = firm.groups[name]
    static = _members(random, name) if isinstance(held, str) else random.choice(_FILTERS)
    return _with(firm, {name: static})


def _a_group_of_its_own(firm: Firm, random: Random) -> Firm:
    """A device group has another group of that name, or no longer."""
    dg, name = random.choice(tuple(firm.rules)), random.choice(GROUPS)
    own = dict(firm.own.get(dg, {}))
    if own and random.random() < 0.5:
        own.pop(random.choice(tuple(own)))
    else:
        own[name] = tuple(random.sample(_ADDRESSES, random.randint(1, 3)))
    return replace(firm, own={**firm.own, dg: own})


# --- rules ----------------------------------------------------------------------------------------


def _of_rules(change: Callable[[list[Says], Random], None]) -> Change:
    """A change of one device group's rules."""

    def made(firm: Firm, random: Random) -> Firm:
        name = random.choice(tuple(firm.rules))
        rules = list(firm.rules[name])
        change(rules, random)
        return replace(firm, rules={**firm.rules, name: tuple(rules)})

    return made


def _new_rule(rules: list[Says], random: Random) -> None:
    rules.insert(random.randint(0, len(rules)), says(random, f"new{random.randrange(10**6)}"))


def _rule_goes(rules: list[Says], random: Random) -> None:
    if len(rules) > 1:
        rules.pop(random.randrange(len(rules)))


def _rules_move(rules: list[Says], random: Random) -> None:
    if rules:
        rules.insert(random.randrange(len(rules)), rules.pop(random.randrange(len(rules))))


def _rule_says_another(rules: list[Says], random: Random) -> None:
    if rules:
        at = random.randrange(len(rules))
        rules[at] = replace(says(random, rules[at].name), action=rules[at].action)


def _turned(rule: Says) -> Says:
    return replace(rule, action="deny" if rule.action == "allow" else "allow")


def _rule_turns(rules: list[Says], random: Random) -> None:
    for at in random.sample(range(len(rules)), min(len(rules), random.choice((1, 1, 2)))):
        rules[at] = _turned(rules[at])


def _negation_turns(rules: list[Says], random: Random) -> None:
    if rules:
        at = random.randrange(len(rules))
        if rules[at].source != ("any",):
            rules[at] = replace(rules[at], not_source=not rules[at].not_source)


def _a_rule_turns_and_its_group_changes(firm: Firm, random: Random) -> Firm:
    name = random.choice(tuple(firm.rules))
    rules = list(firm.rules[name])
    if not rules:
        return firm
    at = random.randrange(len(rules))
    for group in rules[at].source:
        if group in GROUPS and not isinstance(firm.groups[group], str):
            held = firm.groups[group]
            host = _address(random)
            kept = tuple(each for each in held if each != host)
            firm = _with(firm, {group: kept if host in held and kept else (*kept, host)})
    rules[at] = _turned(rules[at])
    return replace(firm, rules={**firm.rules, name: tuple(rules)})


# --- zones and device groups ----------------------------------------------------------------------


def _other_zones(firm: Firm, random: Random) -> Firm:
    options = replace(firm.zone_options, definitions=_definitions(random))
    return replace(firm, zone_options=options)


def _a_zone_comes_or_goes(firm: Firm, random: Random) -> Firm:
    """A device group knows another zone, or it is the other group that does."""
    zone = random.choice(ZONES[:3])
    name = random.choice(tuple(firm.rules))
    zones = {
        each: _toggled(found, zone) if each == name or random.random() < 0.5 else found
        for each, found in firm.zones.items()
    }
    return replace(firm, zones=zones)


def _toggled(found: Sequence[str], zone: str) -> tuple[str, ...]:
    return tuple(each for each in found if each != zone) if zone in found else (*found, zone)


def _a_rule_moves_to_the_other_group(firm: Firm, random: Random) -> Firm:
    if len(firm.rules) < 2:
        return firm
    one, two = random.sample(tuple(firm.rules), 2)
    rules, others = list(firm.rules[one]), list(firm.rules[two])
    if len(rules) < 2:
        return firm
    rule = rules.pop(random.randrange(len(rules)))
    others.insert(random.randint(0, len(others)), rule)
    return replace(firm, rules={**firm.rules, one: tuple(rules), two: tuple(others)})


def _a_group_comes_or_goes(firm: Firm, random: Random) -> Firm:
    if len(firm.here) > 1:
        return replace(firm, here=firm.here[:1])
    if "b" not in firm.rules:
        rules = tuple(says(random, f"b{number}") for number in range(3))
        firm = replace(
            firm,
            rules={**firm.rules, "b": rules},
            zones={**firm.zones, "b": _zones(random)},
        )
    name = "b" if firm.here[0].name == "a" else "a"
    order = firm.here[0].order + random.choice((-1, 1))
    new = TierBinding("main", name, f"tier-{name}", order, _mode(random))
    here = random.choice(((*firm.here, new), (new, *firm.here)))
    return replace(firm, here=here, rule_options=replace(firm.rule_options, allow_as="Pass"))


def _tiers_change_places(firm: Firm, random: Random) -> Firm:
    """Their orders, the order in which they are listed, or a name."""
    here = firm.here
    if len(here) == 1 or random.random() < 0.3:
        at = random.randrange(len(here))
        new = replace(here[at], tier=f"tier-{random.choice('xyz')}{at}")
        return replace(firm, here=(*here[:at], new, *here[at + 1 :]))
    if random.random() < 0.5:
        return replace(firm, here=here[::-1])
    orders = [each.order for each in here][::-1]
    new_orders = (replace(each, order=order) for each, order in zip(here, orders, strict=True))
    return replace(firm, here=tuple(new_orders))


def _other_mode(firm: Firm, random: Random) -> Firm:
    at = random.randrange(len(firm.here))
    mode: Literal["enforced", "staged"] = (
        "staged" if firm.here[at].mode == "enforced" else "enforced"
    )
    new = replace(firm.here[at], mode=mode)
    return replace(firm, here=(*firm.here[:at], new, *firm.here[at + 1 :]))


def _other_settings(firm: Firm, random: Random) -> Firm:
    match random.randrange(4):
        case 0:
            other = replace(firm.zone_options, unzoned_pods=_not(firm.zone_options.unzoned_pods))
            return replace(firm, zone_options=other)
        case 1:
            other = replace(
                firm.zone_options, unknown_addresses=_not(firm.zone_options.unknown_addresses)
            )
            return replace(firm, zone_options=other)
        case 2 if len(firm.here) == 1:
            allow_as: Literal["Pass", "Allow"] = (
                "Pass" if firm.rule_options.allow_as == "Allow" else "Allow"
            )
            return replace(firm, rule_options=replace(firm.rule_options, allow_as=allow_as))
    return replace(firm, pods_known=not firm.pods_known)


def _not(setting: str) -> Literal["pass", "deny"]:
    return "deny" if setting == "pass" else "pass"


_CHANGES: Sequence[Change] = (
    *(2 * (_other_members,)),
    *(4 * (_a_host_joins_and_leaves,)),
    _groups_change_places,
    _a_group_is_split,
    _other_tags,
    _dynamic_or_static,
    _a_group_of_its_own,
    _of_rules(_new_rule),
    _of_rules(_rule_goes),
    _of_rules(_rules_move),
    _of_rules(_rule_says_another),
    *(2 * (_of_rules(_rule_turns),)),
    _of_rules(_negation_turns),
    *(3 * (_a_rule_turns_and_its_group_changes,)),
    _other_zones,
    _a_zone_comes_or_goes,
    *(2 * (_a_rule_moves_to_the_other_group,)),
    _a_group_comes_or_goes,
    _tiers_change_places,
    _other_mode,
    _other_settings,
)
_REARRANGING: Sequence[Change] = (
    _other_settings,
    _other_settings,
    _other_zones,
    _a_zone_comes_or_goes,
    _a_rule_moves_to_the_other_group,
    _tiers_change_places,
)
"""What moves verdicts from one end, chain or tier to another."""
