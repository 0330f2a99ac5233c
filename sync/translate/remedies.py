"""What to do about each kind of reason: one table, for allows and for denies.

kind of a reason, rule  ->  "set `rules.applications: ports`", "nothing: Calico cannot match users"

A key of the configuration is named by its whole path, as docs/configuration.md has it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sync.firewall.reasons import Reason

_OTHERWISE: Final = frozenset({"yes", "no", "y", "n", "on", "off", "true", "false", "null"})
_PLAIN: Final = re.compile(r"[A-Za-z_][\w.-]*( [\w.-]+)*")


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do. A deny may have another remedy, `deny`.

    `accept` names the setting by which a deny may lose what cannot be said instead of growing.
    """

    fix: str
    deny: str = ""
    accept: Literal["", "members", "denies"] = ""


_ACCEPTING: Final = {
    "members": "or let it deny only the rest:",
    "denies": "or leave it out:",
}
_LEAVING_OUT: Final = ", which leaves it out: there is no rest"
_LIVE: Final = "read a live Panorama (`sources[].kind: panorama`)"
_TOP: Final = "at the top level of the configuration"
_PORTS: Final = "set `rules.deny_applications: ports`"

REMEDIES: Final[Mapping[Reason, Remedy]] = {
    Reason.EXTERNAL_LIST: Remedy(f"set `edl: fetch` {_TOP}", accept="members"),
    Reason.EXTERNAL_LIST_PROBLEM: Remedy(
        "make the list readable from here: no login, no exceptions, an address on each line",
        accept="members",
    ),
    Reason.EXTERNAL_LIST_TYPE: Remedy(
        "use a list of type ip in Panorama: no other has addresses", accept="members"
    ),
    Reason.PREDEFINED_LIST: Remedy(
        "list addresses instead: only firewalls have Palo Alto's lists", accept="members"
    ),
    Reason.COUNTRY: Remedy(
        "use a custom region with addresses: only firewalls know those of countries",
        accept="members",
    ),
    Reason.FQDN: Remedy(
        f"set `fqdn: resolve` {_TOP}",
        "use addresses instead of FQDNs in Panorama",
        accept="members",
    ),
    Reason.FQDN_ANSWERED: Remedy(
        "nothing: firewalls may receive other answers of DNS",
        "use addresses instead of FQDNs in Panorama",
        accept="members",
    ),
    Reason.FQDN_UNANSWERED: Remedy(
        "see why DNS has no answer for it here",
        "use addresses instead of FQDNs in Panorama",
        accept="members",
    ),
    Reason.REGISTERED: Remedy(
        f"{_LIVE}; if nothing is registered at run time, set `registered_ips: optional` {_TOP}",
        accept="members",
    ),
    Reason.REGISTERED_UNTOLD: Remedy(
        "connect these firewalls to Panorama, or see why they do not answer; if nothing is "
        f"registered at run time, set `registered_ips: optional` {_TOP}",
        accept="members",
    ),
    Reason.REGISTERED_NEGATED: Remedy(
        "use a filter without negated tags in Panorama", accept="members"
    ),
    Reason.REGISTERED_DIFFERS: Remedy(
        "nothing, until its firewalls report the same addresses", accept="members"
    ),
    Reason.REGISTERED_OPTIONAL: Remedy(
        f"nothing: `registered_ips: optional` accepts it; or {_LIVE}"
    ),
    Reason.MISSING: Remedy(
        "create the missing object in Panorama, or take it out of the list", accept="members"
    ),
    Reason.OBJECT: Remedy("correct the object in Panorama", accept="members"),
    Reason.MAPPED: Remedy("write these addresses as IPv4 in Panorama", accept="members"),
    Reason.WILDCARD: Remedy(
        "use networks instead of wildcard objects: which of these rules a firewall applies is "
        "unknown"
    ),
    Reason.USERS: Remedy("nothing: Calico cannot match users", accept="denies"),
    Reason.HIP: Remedy("nothing: Calico cannot match HIP profiles", accept="denies"),
    Reason.CATEGORY: Remedy("nothing: Calico cannot match URL categories", accept="denies"),
    Reason.SCHEDULE: Remedy("nothing: Calico cannot match times", accept="denies"),
    Reason.CONSTRAINT: Remedy("nothing: Calico cannot match that", accept="denies"),
    Reason.UNREADABLE: Remedy("correct the rule in Panorama", accept="denies"),
    Reason.SERVICE: Remedy("correct the service in Panorama", accept="members"),
    Reason.APP_UNKNOWN: Remedy(
        f"{_LIVE}, or name services instead", f"{_LIVE}, or {_PORTS}", accept="denies"
    ),
    Reason.APP_FILTER: Remedy(
        "name App-IDs or services instead of a filter",
        f"name App-IDs or services instead of a filter, or {_PORTS}",
        accept="denies",
    ),
    Reason.APP_DYNAMIC: Remedy(
        "name services instead of the App-ID",
        f"name services beside the App-ID, or {_PORTS}",
        accept="denies",
    ),
    Reason.APP_OBJECT: Remedy("correct the application in Panorama", accept="denies"),
    Reason.APP_PORTS: Remedy(
        "nothing: Calico cannot match applications (`rules.applications: strict` leaves it out)",
        "nothing: Calico cannot match applications",
        accept="denies",
    ),
    Reason.APP_STRICT: Remedy(
        "set `rules.applications: ports`, or name services instead of App-IDs"
    ),
    Reason.APP_DEFAULT: Remedy("name services in the rule", accept="denies"),
    Reason.APP_SERVICES: Remedy("nothing: without an App-ID, all its services would be allowed"),
    Reason.APP_ANY_PORT: Remedy(
        f"name services or application-default in the rule, or {_PORTS}", accept="denies"
    ),
    Reason.APP_TABLE: Remedy(f"{_LIVE}, or {_PORTS}", accept="denies"),
    Reason.FILTER: Remedy("give it a tag that `rules.filter` keeps, or change `rules.filter`"),
    Reason.TARGET: Remedy("name the serial numbers of the firewalls in `rules.devices`"),
    Reason.TARGET_TAGS: Remedy("target firewalls by serial number instead of by tag in Panorama"),
    Reason.TARGET_SOME: Remedy(
        "let it be for all or none of its device group's firewalls in `rules.devices`"
    ),
    Reason.NOT_TARGETED: Remedy("nothing: other firewalls have it"),
    Reason.NETWORKS: Remedy(
        "give {about} networks in `zones.definitions.NAME.networks`; [] only to a zone that has "
        "pods only"
    ),
    Reason.NO_ZONES: Remedy(
        "name zones in its rules, or give the device group the templates of its firewalls"
    ),
    Reason.NO_MATCH: Remedy("nothing, or fill its empty list in Panorama"),
    Reason.NO_ENDS: Remedy(
        "nothing, or correct the networks of its zones (`zones.definitions.NAME.networks`) and "
        "`clusters[].pod_cidrs`"
    ),
    Reason.ACCEPTED: Remedy("nothing: a setting accepts it"),
    Reason.POD_LABELS: Remedy(
        "give {about} a `zones.definitions.NAME.workloads.namespace_selector`, or let only "
        "administrators label pods"
    ),
}


def remedy(
    kinds: Iterable[Reason],
    *,
    about: str = "",
    rule: str | None = None,
    allow: bool = True,
    no_rest: bool = False,
) -> str:
    """Say what to do about a reason of some kinds.

    `rule` is the name of the rule that has it; None: a group or a zone has it. `about` is what the
    reason is about, as the zones without known networks. With `no_rest`, nothing is left of the
    rule's list without what is unknown.
    """
    found = [REMEDIES[kind] for kind in sorted(kinds, key=lambda each: each.value)]
    said = [each.fix if allow or not each.deny else each.deny for each in found]
    if rule is not None and not allow:
        settings = dict.fromkeys(each.accept for each in found if each.accept)
        said += (
            f"{_ACCEPTING[each]} `rules.accept_dropped_{each}: [{_name(rule)}]`"
            f"{_LEAVING_OUT if no_rest and each == 'members' else ''}"
            for each in settings
        )
    return "; ".join(dict.fromkeys(said)).replace("{about}", about)


def _name(rule: str) -> str:
    """A name as YAML takes it in a list."""
    plain = _PLAIN.fullmatch(rule) and rule.lower() not in _OTHERWISE
    return rule if plain else "'" + rule.replace("'", "''") + "'"
