"""The whole configuration of a Panorama, and the snapshot of it that one cycle uses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sync.firewall.estimate import Estimate
from sync.firewall.objects import Application, ApplicationGroup, Objects
from sync.firewall.rules import Rulebases
from sync.firewall.runtime import Registrations
from sync.firewall.templates import Template, TemplateStack
from sync.net.addresses import AddressSet

SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something in the document that could not be read as it is.

    `path` is an XPath from `/config`; `message` names the fault and how it was treated.
    """

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The content of Shared, or of one device group itself.

    `forwards_by_policy`: a rule of it sends packets another way than routes do
    (policy-based forwarding, SD-WAN).
    """

    objects: Objects = field(default_factory=Objects)
    rulebases: Rulebases = field(default_factory=Rulebases)
    forwards_by_policy: bool = False


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """A device group; `parent` is empty where that is Shared.

    `devices` are (serial, virtual systems; none means all); `references` name the templates and
    stacks it takes zones from besides those of its devices. `unreadable` says that some of
    either were left out. `parent_unknown` is a clause on why its parent is unknown.
    """

    name: str
    parent: str
    scope: Scope
    devices: tuple[tuple[str, tuple[str, ...]], ...] = ()
    references: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    parent_unknown: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The content of one document, and every remark made while reading it.

    `ancestors_take_precedence` is the Panorama setting "Objects defined in ancestors will take
    higher precedence"; None if the document has no setting.
    """

    version: str
    shared: Scope
    device_groups: Mapping[str, DeviceGroup]
    templates: Mapping[str, Template]
    stacks: Mapping[str, TemplateStack]
    ancestors_take_precedence: bool | None = False
    remarks: tuple[Remark, ...] = ()


def family_of(configuration: Configuration, device_group: str) -> list[DeviceGroup]:
    """A device group and all below it; those with an unknown parent may be."""
    groups = configuration.device_groups
    below: dict[str, list[str]] = {}
    for group in groups.values():
        parent = device_group if group.parent_unknown else group.parent
        below.setdefault(parent, []).append(group.name)
    family = {device_group: groups[device_group]}
    names = [device_group]
    for name in names:
        found = [each for each in below.get(name, ()) if each not in family]
        names += found
        family |= {each: groups[each] for each in found}
    return list(family.values())


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a snapshot comes from, as far as its source reports it.

    `origin` is a file's path or a host; `version` names the configuration version, else the
    content's digest; `administrators` and `description` are those of the commit, where known. Where
    changes are `pending`, it is a candidate, and `administrators` are those who made them.
    """

    source: str
    origin: str
    version: str
    administrators: tuple[str, ...] = ()
    description: str = ""
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of one source, with runtime data outside its configuration.

    `registered` has the registered addresses by device group; those of a missing one are unknown.
    `names` has the answers of DNS by FQDN as address objects write it (nowhere: asked in vain),
    `lists` external dynamic lists by URL, `predefined` the App-IDs of the Panorama's own content by
    name.
    `not_pushed` names the firewalls, by device group, that are out of sync with the Panorama.
    """

    configuration: Configuration
    provenance: Provenance
    registered: Mapping[str, Registrations] = field(default_factory=dict)
    names: Mapping[str, AddressSet] = field(default_factory=dict)
    lists: Mapping[str, Estimate] = field(default_factory=dict)
    predefined: Mapping[str, Application | ApplicationGroup] = field(default_factory=dict)
    not_pushed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
