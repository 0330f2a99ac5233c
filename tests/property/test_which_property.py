"""What holds an address, found from the members up, is what the resolution of groups says."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from sync.firewall.effective import effective
from sync.firewall.groups import Resolved, resolve_groups
from sync.firewall.membership import Holds, holding, how_much, literal
from sync.firewall.objects import Address, AddressGroup
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import AddressSet, network
from sync.queries.which import which
from sync.translate.compiler import Options, translate
from sync.translate.network_sets import Target
from tests.naive import documents, reader
from tests.words import Word, address, dynamic, group, rule, seen_by

asked_for = st.one_of(
    st.sampled_from([str(each) for each in documents.PROBES]),
    st.builds("10.0.0.{}/{}".format, st.integers(0, 63), st.integers(24, 32)),
    st.builds("2001:db8::{:x}/{}".format, st.integers(0, 63), st.integers(120, 128)),
    st.sampled_from(["0.0.0.0/0", "::/0", "::/96", "10.0.0.0/8"]),
)


@given(documents.documents(), asked_for, st.booleans(), st.data())
def test_groups_that_are_found_are_those_that_hold_it(
    document: str, asked: str, known: bool, data: st.DataObject
) -> None:
    configuration = read_configuration(parse(document.encode(), "document"))
    device_group = data.draw(st.sampled_from(reader.device_groups(document)))
    objects = effective(configuration, device_group).objects.addresses
    wanted = network(asked)
    found = holding(objects, wanted, registered_known=known)
    groups = {each.name: each for each in found.groups}
    for name, resolved in resolve_groups(objects, registered_known=known).items():
        surely = how_much(wanted, resolved.holds.surely)
        # What the climb reaches is what the resolution says, and only that.
        held = resolved.holds.surely & wanted
        assert found.held.get(name, held) == held
        assert (name in found.held) == bool(surely)
        if surely or resolved.holds.because:
            assert groups[name].holds == (surely or Holds.MAYBE)
            assert groups[name].open_because == resolved.holds.because
            assert bool(groups[name].way) == bool(surely)
        else:
            assert name not in groups
    for each in found.groups:
        assert each.way[:1] == ((each.name,) if each.way else ())
        for member in each.way[1:-1]:
            assert isinstance(objects[member], AddressGroup)
        for holder, member in zip(each.way, each.way[1:], strict=False):
            assert member in groups[holder].members
        for member in each.members:
            direct = objects[each.name]
            assert isinstance(direct, AddressGroup)
            assert direct.filter or member in direct.members
            assert found.held[member]
        if each.way:
            last = objects.get(each.way[-1])
            addresses = last.addresses if isinstance(last, Address) else literal(each.way[-1])
            assert addresses
            assert addresses & wanted


@given(documents.documents(), asked_for, st.booleans(), st.data())
def test_the_list_of_a_rule_holds_what_its_members_do(
    document: str, asked: str, known: bool, data: st.DataObject
) -> None:
    configuration = read_configuration(parse(document.encode(), "document"))
    device_group = effective(
        configuration, data.draw(st.sampled_from(reader.device_groups(document)))
    )
    target = Target("main", device_group, "fw", 101, "staged", NOTHING)
    objects = device_group.objects.addresses
    resolved = resolve_groups(objects, registered_known=known)
    wanted = network(asked)
    (found,) = which("eu", wanted, [target], Options((), known, ())).device_groups
    ends = {(each.placed, end.end): end for each in found.rules for end in each.ends}
    for placed in device_group.rules:
        rule = placed.rule
        for end, members, negated in (
            ("source", rule.sources, rule.negate_source),
            ("destination", rule.destinations, rule.negate_destination),
        ):
            if "any" in members:
                assert (placed, end) not in ends
                continue
            said = [_said(member, objects, resolved) for member in members]
            listed = AddressSet.union(addresses for addresses, _ in said)
            is_open = any(each for _, each in said)
            surely = how_much(wanted, wanted - listed if negated else listed)
            if negated:
                expected = Holds.MAYBE if surely and is_open else surely
            else:
                expected = surely or (Holds.MAYBE if is_open else None)
            held = ends.get((placed, end))
            assert (held and held.holds) == expected, (rule, end)
            if held and held.holds is Holds.MAYBE:
                assert held.reasons


def _said(
    member: str,
    objects: Mapping[str, Address | AddressGroup],
    resolved: Mapping[str, Resolved],
) -> tuple[AddressSet, bool]:
    """What a member surely stands for, and whether something of it is not known."""
    if member in resolved:
        return resolved[member].holds.surely, resolved[member].holds.open
    found = objects.get(member)
    addresses = found.addresses if isinstance(found, Address) else literal(member)
    return addresses or AddressSet(), addresses is None


LISTED = (
    "any",
    "wild",
    "wild",
    "host",
    "net",
    "web",
    "tagged",
    "10.0.0.0-10.0.9.9",
    "fqdn",
    "nowhere",
)
OBJECTS = (
    address("host", "10.0.0.4", tags=("web",)),
    address("net", "10.0.0.0/24"),
    # 512 nets, more than a rule itself takes.
    address("wild", "10.0.0.3/0.255.4.0", kind="ip-wildcard"),
    address("fqdn", "www.example.com", kind="fqdn"),
    group("web", "host", "wild"),
    dynamic("tagged", "'web'"),
)
lists = st.lists(st.sampled_from(LISTED), min_size=1, max_size=2, unique=True)
switches = st.sampled_from(("yes", "no"))
rules = st.builds(
    lambda number, **fields: rule(f"rule {number}", **fields),
    st.integers(0, 99),
    source=lists,
    destination=lists,
    negate_source=switches,
    negate_destination=switches,
    from_=st.sampled_from((["any"], ["a"], ["a", "b"])),
    to=st.sampled_from((["any"], ["b"])),
    service=st.just(["any"]),
    action=st.sampled_from(("allow", "deny")),
    disabled=st.sampled_from(("no", "no", "yes")),
)


@given(
    st.lists(rules, min_size=2, max_size=5),
    st.lists(rules, max_size=2),
    st.sampled_from(
        ("10.0.0.4", "10.7.0.3", "10.7.0.0", "10.7.0.0/24", "192.0.2.1", "2001:db8::1")
    ),
    st.booleans(),
)
def test_the_sets_are_those_of_the_translation(
    some: list[Word], others: list[Word], asked: str, known: bool
) -> None:
    groups = {"dg": [*OBJECTS, *some], "other": [*OBJECTS[1:], *others]}
    targets = [
        Target("main", seen_by(name, groups), f"fw-{order}", order, "staged", NOTHING)
        for order, name in enumerate(groups, 101)
    ]
    wanted = network(asked)
    options = Options((), known, ())
    expected = {}
    for (kind, name), manifest in translate("eu", targets, options, {}).manifests.items():
        if kind == "GlobalNetworkSet":
            nets = manifest.document()["spec"].get("nets", ())
            if holding_it := tuple(net for net in nets if network(net) & wanted):
                expected[name] = holding_it
    assert {each.name: each.nets for each in which("eu", wanted, targets, options).sets} == expected
