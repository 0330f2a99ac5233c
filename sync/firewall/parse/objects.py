"""The objects of one scope, from its XML."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TypeVar

from lxml.etree import _Element

from sync.firewall import addressing, tag_filter
from sync.firewall.objects import (
    Address,
    AddressGroup,
    Application,
    ApplicationFilter,
    ApplicationGroup,
    ExternalList,
    Objects,
    Region,
    Service,
    ServiceGroup,
    Tag,
    unusable,
)
from sync.firewall.parse.xml import Remarks, brief, members, named, text
from sync.net import ports
from sync.net.addresses import AddressSet

_Object = TypeVar(
    "_Object",
    bound=Address
    | AddressGroup
    | Service
    | ServiceGroup
    | Application
    | ApplicationGroup
    | ApplicationFilter
    | ExternalList
    | Region
    | Tag,
)
_Reader = Callable[[str, _Element, Remarks], _Object]

# Elements that say nothing about what an object stands for.
_SILENT = frozenset({"description", "disable-override"})


def _known(*tags: str) -> frozenset[str]:
    return _SILENT | frozenset(tags)


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
            ("application", _application),
            ("application-group", _application_group),
            ("application-filter", _application_filter),
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
    readers = (("application", _predefined), ("application-container", _container))
    return _by_name([predefined], readers, remarks)


def _by_name(
    scope: Sequence[_Element],
    readers: Iterable[tuple[str, _Reader[_Object]]],
    remarks: Remarks,
) -> dict[str, _Object]:
    """One name space. Of two different objects with one name neither is believed.

    PAN-OS refuses such a document, so nothing says which one it would mean; the order in the
    document must not decide it.
    """
    found: dict[str, _Object] = {}
    for tag, reader in readers:
        containers = [child for element in scope for child in element.iterchildren(tag)]
        for name, entry in named(containers, remarks):
            read = reader(name, entry, remarks)
            if entry.tag != "entry":
                # Left out, it would uncover an object of that name further away.
                remarks.add(entry, "is not an entry; whatever uses it is taken as unsayable")
                read = _unusable(read, "is not written as an entry")
            if name not in found:
                found[name] = read
            elif found[name] != read:
                remarks.add(entry, "stands more than once with different contents; none counts")
                found[name] = _ambiguous(found[name], read)
            else:
                remarks.add(entry, "stands more than once")
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


_NONE: frozenset[str] = frozenset()


class _Fields:
    """The children of one entry by tag, each at most once, and the first problem among them.

    `direct` are members directly under the entry, as groups hold them in PAN-OS 5 and older.
    """

    __slots__ = ("_remarks", "_repeated", "direct", "found", "problem")

    def __init__(self, entry: _Element, known: frozenset[str], remarks: Remarks) -> None:
        self.found = found = {child.tag: child for child in entry}
        self._remarks = remarks
        self._repeated: AbstractSet[str] = _NONE
        self.problem = ""
        self.direct: Sequence[str] = ()
        if len(found) != len(entry) or not found.keys() <= known or "member" in found:
            self._sort_out(entry, known)

    def _sort_out(self, entry: _Element, known: frozenset[str]) -> None:
        """What is not one known element of each tag."""
        seen: set[str] = set()
        direct: list[str] = []
        repeated: set[str] = set()
        for child in entry:
            tag = child.tag
            if tag not in known:
                self.fail(child, f"has an element <{tag}> that is not known here")
            elif tag == "member":
                direct.append(text(child))
                if len(child) or not text(child):
                    self.fail(child, "has a member without a name")
            elif tag in seen:
                repeated.add(tag)
                self.fail(child, f"has <{tag}> more than once")
            seen.add(tag)
        self._repeated, self.direct = repeated, direct

    def fail(self, element: _Element, problem: str) -> None:
        """Remark on an element; the first problem is the object's."""
        self._remarks.add(element, f"{problem}; whatever uses it is taken as unsayable")
        # It stands in a clause of every group that holds the object.
        self.problem = self.problem or brief(problem)

    def text(self, tag: str) -> str:
        """The text of a child, empty if there is none."""
        if tag not in self.found:
            return ""
        child = self.found[tag]
        if len(child):
            self.fail(child, "holds elements where text should stand")
        return text(child)

    def members(self, tag: str) -> tuple[str, ...] | None:
        """The members of a child, none if it is absent; None, a problem, if they are unreadable.

        Sorted: in the lists of objects their order has no meaning.
        """
        if tag not in self.found:
            return ()
        # Of two lists, the order in the document must not decide which one counts.
        listed = None if tag in self._repeated else members(self.found[tag], self._remarks)
        if listed is None:
            self.problem = self.problem or f"has an unreadable <{tag}>"
            return None
        return tuple(sorted(set(listed))) if len(listed) > 1 else listed

    def list_of(self, tag: str) -> tuple[str, ...]:
        """The members of a group: those of a child, or directly under the entry; sorted."""
        return tuple(sorted({*(self.members(tag) or ()), *self.direct}))


_ADDRESS = _known("ip-netmask", "ip-range", "ip-wildcard", "fqdn", "tag")


def _address(name: str, entry: _Element, remarks: Remarks) -> Address:
    fields = _Fields(entry, _ADDRESS, remarks)
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


_GROUP = _known("static", "dynamic", "member", "tag")


def _address_group(name: str, entry: _Element, remarks: Remarks) -> AddressGroup:
    fields = _Fields(entry, _GROUP, remarks)
    tags = fields.members("tag")
    kinds = [kind for kind in ("static", "dynamic") if kind in fields.found]
    if len(kinds) + bool(fields.direct) != 1:
        fields.fail(entry, "has members in more than one place" if kinds else "has no members")
    members_by_tag = None
    if "dynamic" in fields.found:
        dynamic = _Fields(fields.found["dynamic"], _known("filter"), remarks)
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
    fields = _Fields(entry, _known("protocol", "tag"), remarks)
    fields.members("tag")
    protocols = list(fields.found["protocol"]) if "protocol" in fields.found else []
    if len(protocols) != 1 or protocols[0].tag not in _PROTOCOLS:
        fields.fail(entry, "is not a TCP or UDP service")
        return Service(name, "", ports.PortSet(()), problem=fields.problem)
    inner = _Fields(protocols[0], _known("port", "source-port", "override"), remarks)
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


_LIST = _known("members", "member", "tag")


def _service_group(name: str, entry: _Element, remarks: Remarks) -> ServiceGroup:
    fields = _Fields(entry, _LIST, remarks)
    fields.members("tag")
    listed = fields.list_of("members")
    return ServiceGroup(name, listed, fields.problem)


def _application_group(name: str, entry: _Element, remarks: Remarks) -> ApplicationGroup:
    fields = _Fields(entry, _LIST, remarks)
    fields.members("tag")
    listed = fields.list_of("members")
    return ApplicationGroup(name, listed, fields.problem)


_IDENTIFIED_BY = ("ident-by-icmp-type", "ident-by-icmp6-type", "ident-by-ip-protocol")


def _application(name: str, entry: _Element, remarks: Remarks) -> Application:
    # Signatures, timeouts and the like are many and change with every version; only `default`
    # says anything about ports, so only that is read strictly.
    default: list[tuple[str, str]] = []
    attributes: list[tuple[str, str]] = []
    problem = ""
    if len(list(entry.iterchildren("default"))) > 1:
        problem = "has <default> more than once"
        remarks.add(entry, f"{problem}; whatever uses it is taken as unsayable")
    for child in entry:
        if child.tag != "default":
            if not len(child) and child.tag not in _SILENT:
                attributes.append((child.tag, text(child)))
            continue
        fields = _Fields(child, _known("port", "extended-port", *_IDENTIFIED_BY), remarks)
        usual = fields.members("port") or ()
        default += [("port", member) for member in usual]
        default += [
            ("extended-port", member.removesuffix("/secure"))
            for member in fields.members("extended-port") or ()
            if member not in usual
        ]
        default += [
            (tag, _identity(fields, tag, remarks)) for tag in _IDENTIFIED_BY if tag in fields.found
        ]
        problem = problem or fields.problem
    # Of two values of one attribute nothing says which a filter would find.
    tags = Counter(tag for tag, _ in attributes)
    single = sorted(each for each in attributes if tags[each[0]] == 1)
    return Application(name, tuple(default), tuple(single), problem)


_ICMP_PARTS = frozenset({"type", "code"})


def _identity(fields: _Fields, tag: str, remarks: Remarks) -> str:
    """A list of IP protocols or ICMP types as text, or as elements `type` and `code`: `8/0`.

    Sources: the PAN-OS configuration schema (`application/entry/default`), where all three are
    lists of ranges from 0 to 255; the text alone is how PAN-OS 4 writes ICMP types.
    """
    element = fields.found[tag]
    if tag == "ident-by-ip-protocol" or not len(element):
        value = fields.text(tag)
        if "/" not in value:
            return value
    else:
        parts = _Fields(element, _ICMP_PARTS, remarks)
        values = [parts.text(part) for part in ("type", "code") if part in parts.found]
        fields.problem = fields.problem or parts.problem
        beside = [element.text, *(part.tail for part in element)]
        stray = any(each and each.strip() for each in beside)
        if "type" in parts.found and not stray and "/" not in "".join(values):
            return "/".join(values)
    fields.fail(element, "is no list of numbers")
    return ""


def _predefined(name: str, entry: _Element, remarks: Remarks) -> Application:
    return replace(_application(name, entry, remarks), predefined=True)


def _container(name: str, entry: _Element, remarks: Remarks) -> ApplicationGroup:
    found = list(entry.iterchildren("functions"))
    listed = members(found[0], remarks) if len(found) == 1 else None
    problem = ""
    if not listed:
        problem = "does not tell what it holds"
        remarks.add(entry, f"{problem}; whatever uses it is taken as unsayable")
    return ApplicationGroup(name, tuple(sorted(set(listed or ()))), problem)


def _application_filter(name: str, entry: _Element, remarks: Remarks) -> ApplicationFilter:
    attributes: dict[str, tuple[str, ...]] = {}
    problem = ""
    for child in entry:
        if child.tag in _SILENT:
            continue
        values = members(child, remarks) if len(child) else (text(child),)
        if values is None or child.tag in attributes:
            problem = problem or f"has an unreadable <{brief(child.tag)}>"
        else:
            attributes[child.tag] = values
    return ApplicationFilter(name, tuple(sorted(attributes.items())), problem)


# With a certificate profile firewalls verify the server by it; who fetches here always verifies.
_ADDRESS_LIST = _known("url", "exception-list", "certificate-profile", "recurring", "auth")


def _external_list(name: str, entry: _Element, remarks: Remarks) -> ExternalList:
    kinds = list(entry.iterchildren("type"))
    chosen = list(kinds[0]) if len(kinds) == 1 else []
    if len(chosen) != 1:
        remarks.add(entry, "has no single type; whatever uses it is taken as unsayable")
        return ExternalList(name, "", problem="has no single type")
    kind = chosen[0].tag
    if kind != "ip":
        # Nothing but its kind counts: no other list is of addresses that its source tells.
        url = chosen[0].find("url")
        return ExternalList(name, kind, "" if url is None else text(url))
    fields = _Fields(chosen[0], _ADDRESS_LIST, remarks)
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
    fields = _Fields(entry, _known("address", "geo-location"), remarks)
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
    fields = _Fields(entry, _known("color", "comments"), remarks)
    return Tag(name, fields.text("color"), fields.text("comments"), fields.problem)
