"""The objects of one scope, from its XML."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from lxml.etree import _Element

from sync.firewall import addressing, tag_filter
from sync.firewall.objects import (
    Address,
    AddressGroup,
    Application,
    ApplicationGroup,
    ExternalList,
    NamedObject,
    Objects,
    Region,
    Service,
    ServiceGroup,
    Tag,
    unusable,
)
from sync.firewall.parse.applications import (
    read_application,
    read_application_filter,
    read_application_group,
    read_container,
    read_predefined_application,
)
from sync.firewall.parse.fields import MEMBERS, Fields, known
from sync.firewall.parse.xml import Remarks, named, text
from sync.net import ports
from sync.net.addresses import AddressSet

_Object = TypeVar("_Object", bound=NamedObject)
_Reader = Callable[[str, _Element, Remarks], _Object]

_ADDRESS_VALUES: dict[str, Callable[[str], AddressSet]] = {
    "ip-netmask": addressing.ip_netmask,
    "ip-range": addressing.ip_range,
    "ip-wildcard": addressing.ip_wildcard,
}
_ADDRESS_KINDS = frozenset({*_ADDRESS_VALUES, "fqdn"})


def read_objects(scope: Sequence[_Element], remarks: Remarks) -> Objects:
    """The objects of a scope; more than one element where the document holds the scope twice."""

    def by_name(*readers: tuple[str, _Reader[_Object]]) -> dict[str, _Object]:
        return _by_name(scope, readers, remarks)

    return Objects(
        addresses=by_name(("address", _address), ("address-group", _address_group)),
        services=by_name(("service", _service), ("service-group", _service_group)),
        applications=by_name(
            ("application", read_application),
            ("application-group", read_application_group),
            ("application-filter", read_application_filter),
        ),
        external_lists=by_name(("external-list", _external_list)),
        regions=by_name(("region", _region)),
        tags=by_name(("tag", _tag)),
    )


def read_predefined(
    predefined: _Element, remarks: Remarks
) -> dict[str, Application | ApplicationGroup]:
    """The App-IDs of a Panorama's own content by name; a container is a group of its functions.

    Source of the shape: what pan-os-python 1.13 reads of `/config/predefined`.
    """
    readers = (
        ("application", read_predefined_application),
        ("application-container", read_container),
    )
    return _by_name([predefined], readers, remarks)


def _by_name(
    scope: Sequence[_Element],
    readers: Iterable[tuple[str, _Reader[_Object]]],
    remarks: Remarks,
) -> dict[str, _Object]:
    """One name space. Of two different objects with one name neither is believed.

    PAN-OS refuses such a document, so it is unknown which one it would mean; the order in the
    document must not decide it.
    """
    found: dict[str, _Object] = {}
    for tag, reader in readers:
        containers = [child for element in scope for child in element.iterchildren(tag)]
        for name, entry in named(containers, remarks):
            read = reader(name, entry, remarks)
            if entry.tag != "entry":
                # Left out, it would uncover an object of that name further away.
                remarks.add(entry, "is not an entry; anything that uses it is treated as unknown")
                read = _unusable(read, "is not written as an entry")
            if name not in found:
                found[name] = read
            elif found[name] != read:
                remarks.add(entry, "occurs more than once with different contents; none counts")
                found[name] = _ambiguous(found[name], read)
            else:
                remarks.add(entry, "occurs more than once")
    return found


def _ambiguous(first: _Object, second: _Object) -> _Object:
    """One object with a problem for two that differ, whichever came first; a group stays one."""
    problem = "is defined more than once, differently"
    return max(
        (_unusable(each, problem) for each in (first, second)),
        key=lambda each: (isinstance(each, AddressGroup), repr(each)),
    )


def _unusable(read: _Object, problem: str) -> _Object:
    """The object with a problem, of which nothing counts, its tags neither."""
    found = unusable(read, problem)
    return replace(found, tags=None) if isinstance(found, Address | AddressGroup) else found


_ADDRESS = known("ip-netmask", "ip-range", "ip-wildcard", "fqdn", "tag")


def _address(name: str, entry: _Element, remarks: Remarks) -> Address:
    fields = Fields(entry, _ADDRESS, remarks)
    tags = fields.members("tag")
    kinds = [tag for tag in fields.found if tag in _ADDRESS_KINDS]
    if len(kinds) != 1:
        fields.fail(entry, "has no value" if not kinds else "has more than one value")
        return Address(name, "", "", None, tags, fields.problem)
    kind = kinds[0]
    value = fields.text(kind)
    addresses = None
    if kind == "fqdn":
        if not value:
            fields.fail(entry, "has an empty value")
    else:
        try:
            addresses = _ADDRESS_VALUES[kind](value)
        except ValueError as error:
            fields.fail(fields.found[kind], str(error))
    return Address(name, kind, value, None if fields.problem else addresses, tags, fields.problem)


_GROUP = known("static", "dynamic", "member", "tag")


def _address_group(name: str, entry: _Element, remarks: Remarks) -> AddressGroup:
    fields = Fields(entry, _GROUP, remarks)
    tags = fields.members("tag")
    kinds = [kind for kind in ("static", "dynamic") if kind in fields.found]
    if len(kinds) + bool(fields.direct) != 1:
        fields.fail(entry, "has members in more than one place" if kinds else "has no members")
    members_by_tag = None
    if "dynamic" in fields.found:
        dynamic = Fields(fields.found["dynamic"], known("filter"), remarks)
        written = dynamic.text("filter")
        fields.problem = fields.problem or dynamic.problem
        try:
            members_by_tag = tag_filter.parse(written)
        except ValueError as error:
            fields.fail(fields.found["dynamic"], f"has a filter that cannot be read: {error}")
    listed = fields.list_of("static")
    return AddressGroup(name, listed, members_by_tag, tags, fields.problem)


_PROTOCOLS = ("tcp", "udp")


def _service(name: str, entry: _Element, remarks: Remarks) -> Service:
    fields = Fields(entry, known("protocol", "tag"), remarks)
    fields.members("tag")
    protocols = list(fields.found["protocol"]) if "protocol" in fields.found else []
    if len(protocols) != 1 or protocols[0].tag not in _PROTOCOLS:
        fields.fail(entry, "is not a TCP or UDP service")
        return Service(name, "", ports.PortSet(()), problem=fields.problem)
    inner = Fields(protocols[0], known("port", "source-port", "override"), remarks)
    written = {tag: inner.text(tag) for tag in ("port", "source-port") if tag in inner.found}
    fields.problem = fields.problem or inner.problem
    found: dict[str, ports.PortSet] = {}
    for tag, value in {"port": "", **written}.items():
        try:
            found[tag] = _ports(value)
        except ValueError as error:
            fields.fail(protocols[0], f"has a <{tag}> that cannot be read: {error}")
    return Service(
        name,
        protocols[0].tag,
        found.get("port", ports.PortSet(())),
        found.get("source-port"),
        fields.problem,
    )


def _ports(value: str) -> ports.PortSet:
    """Ports as a service lists them; older versions of PAN-OS write every port as `any` too."""
    return ports.ALL_PORTS if value == "any" else ports.ports(value)


def _service_group(name: str, entry: _Element, remarks: Remarks) -> ServiceGroup:
    fields = Fields(entry, MEMBERS, remarks)
    fields.members("tag")
    listed = fields.list_of("members")
    return ServiceGroup(name, listed, fields.problem)


# With a certificate profile firewalls verify the server by it; who fetches here always verifies.
_ADDRESS_LIST = known("url", "exception-list", "certificate-profile", "recurring", "auth")


def _external_list(name: str, entry: _Element, remarks: Remarks) -> ExternalList:
    kinds = list(entry.iterchildren("type"))
    chosen = list(kinds[0]) if len(kinds) == 1 else []
    if len(chosen) != 1:
        remarks.add(entry, "has no single type; anything that uses it is treated as unknown")
        return ExternalList(name, "", problem="has no single type")
    kind = chosen[0].tag
    if kind != "ip":
        # Nothing but its kind counts: no other list holds addresses of its source.
        url = chosen[0].find("url")
        return ExternalList(name, kind, "" if url is None else text(url))
    fields = Fields(chosen[0], _ADDRESS_LIST, remarks)
    url_text = fields.text("url")
    exceptions = fields.members("exception-list")
    refresh = ""
    if "recurring" in fields.found:
        # How often, and in most kinds when: only the first is of use.
        times = [child.tag for child in fields.found["recurring"]]
        refresh = times[0] if len(times) == 1 else ""
    if "auth" in fields.found:
        fields.problem = fields.problem or "needs a user and password that Panorama does not show"
    return ExternalList(name, kind, url_text, fields.problem, refresh, exceptions or ())


def _region(name: str, entry: _Element, remarks: Remarks) -> Region:
    fields = Fields(entry, known("address", "geo-location"), remarks)
    listed = fields.members("address") or ()
    found = [addressing.literal(member) for member in listed]
    if not listed and not fields.problem:
        # An entry may give no more than its place on the map.
        fields.fail(entry, "is a region without addresses")
    for member, held in zip(listed, found, strict=True):
        if held is None:
            fields.fail(entry, f"is a region with a member that is no address ({member!r})")
    addresses = AddressSet.union(each for each in found if each is not None)
    return Region(name, listed, None if fields.problem else addresses, fields.problem)


def _tag(name: str, entry: _Element, remarks: Remarks) -> Tag:
    fields = Fields(entry, known("color", "comments"), remarks)
    return Tag(name, fields.text("color"), fields.text("comments"), fields.problem)
