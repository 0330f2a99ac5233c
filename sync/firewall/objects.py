"""The named objects of a scope (Shared or a device group).

Every object carries a `problem`: empty when it was read whole, else one clause with the reason why
it cannot be used. An object with a problem keeps its name, and counts as unsayable wherever it is
used: it is never taken for empty and never for any. `tags` are None where they are unreadable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, TypeVar

from sync.firewall.estimate import Estimate
from sync.firewall.reasons import Reason
from sync.firewall.tag_filter import TagFilter
from sync.net.addresses import NOWHERE, AddressSet
from sync.net.ports import PortSet

# Kinds of addresses that have no tags, and are in no dynamic group for lack of one.
UNTAGGED: Final = frozenset({"region", "external-list"})


@dataclass(frozen=True, slots=True)
class Address:
    """An address object: `kind` is `ip-netmask`, `ip-range`, `ip-wildcard` or `fqdn`.

    Where names are resolved (`sync.firewall.effective`) it is also a `region`, or a predefined
    `external-list`.
    `addresses` are its addresses when a rule is matched; None with a problem, and for an FQDN. For
    an FQDN `answers` is what DNS answers here; a firewall may receive other answers.
    `kind_of_problem` says what can be done about its problem. `asked`: DNS was asked for its name.
    """

    name: str
    kind: str
    value: str
    addresses: AddressSet | None
    tags: tuple[str, ...] | None = ()
    problem: str = ""
    answers: AddressSet = NOWHERE
    kind_of_problem: Reason = Reason.OBJECT
    asked: bool = False

    @property
    def unsaid(self) -> Reason:
        """The kind of reason why it has no addresses."""
        if self.problem:
            return self.kind_of_problem
        if not self.asked:
            return Reason.FQDN
        return Reason.FQDN_ANSWERED if self.answers else Reason.FQDN_UNANSWERED


@dataclass(frozen=True, slots=True)
class AddressGroup:
    """A static group has `members`, a dynamic one a `filter` over tags."""

    name: str
    members: tuple[str, ...] = ()
    filter: TagFilter | None = None
    tags: tuple[str, ...] | None = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A TCP or UDP service; `source_ports` None means any source port."""

    name: str
    protocol: str
    ports: PortSet
    source_ports: PortSet | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ServiceGroup:
    name: str
    members: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """An application. `default` is its traffic for `application-default`.

    Its items are as PAN-OS writes them, lists and ranges all: (`port`, `tcp/80,443`),
    (`ident-by-ip-protocol`, `47,50-51`), (`ident-by-icmp-type`, `13,14`), with codes after a slash
    (`ident-by-icmp6-type`, `1/0-4`); (`extended-port`, `tcp/443`) is one that it means besides
    where traffic is decrypted. `attributes` are the other single-valued elements, in name order,
    which application filters ask about. `predefined`: it is one of the Panorama's own content.
    """

    name: str
    default: tuple[tuple[str, str], ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    predefined: bool = False


@dataclass(frozen=True, slots=True)
class ApplicationGroup:
    name: str
    members: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ApplicationFilter:
    """A query over applications: each attribute with its accepted values, in name order."""

    name: str
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ExternalList:
    """An external dynamic list; `type` is `ip`, `predefined-ip`, `domain`, `url`, …

    `refresh` is how often firewalls fetch it, as PAN-OS calls that (`five-minute`, `hourly`,
    `daily`, …; empty: not said). `exceptions` are entries that do not count, as they are written.
    `holds` is its content, without its exceptions; None if that is unknown.
    """

    name: str
    type: str
    url: str = ""
    problem: str = ""
    refresh: str = ""
    exceptions: tuple[str, ...] = ()
    holds: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """A custom region; `addresses` are those of its members, None with a problem."""

    name: str
    members: tuple[str, ...] = ()
    addresses: AddressSet | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    color: str = ""
    comments: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a scope by name.

    Kinds that share a name space on PAN-OS share a mapping here: addresses with address groups,
    services with service groups, applications with their groups and filters.
    """

    addresses: Mapping[str, Address | AddressGroup] = field(default_factory=dict)
    services: Mapping[str, Service | ServiceGroup] = field(default_factory=dict)
    applications: Mapping[str, ApplicationFilter | ApplicationGroup | Application] = field(
        default_factory=dict
    )
    external_lists: Mapping[str, ExternalList] = field(default_factory=dict)
    regions: Mapping[str, Region] = field(default_factory=dict)
    tags: Mapping[str, Tag] = field(default_factory=dict)


NamedObject: TypeAlias = (
    Address
    | AddressGroup
    | Service
    | ServiceGroup
    | Application
    | ApplicationGroup
    | ApplicationFilter
    | ExternalList
    | Region
    | Tag
)

_Object = TypeVar("_Object", bound=NamedObject)


def unusable(found: _Object, problem: str) -> _Object:
    """The object with a problem: its contents do not count, its tags are kept."""
    if isinstance(found, Address):
        return replace(found, addresses=None, problem=problem, kind_of_problem=Reason.OBJECT)
    if isinstance(found, Region):
        return replace(found, addresses=None, problem=problem)
    return replace(found, problem=problem)
