"""The traffic of one rule of the firewall, as the proof reads its services and applications."""

from typing import Final, NamedTuple

from sync.firewall.applications import beyond_table, resolve_applications
from sync.firewall.objects import Objects
from sync.firewall.rules import Rule
from sync.firewall.services import Traffic, merged, resolve_services, shared
from sync.options import RuleOptions
from sync.verify.packet_space import ByTable

_ANY: Final = "any"
_BY_DEFAULT: Final = "application-default"

ANY_TRAFFIC: Final = (Traffic(),)


class RuleTraffic(NamedTuple):
    """The traffic, whether it is `exact`ly the rule's, and whether a deny grew by unknown parts.

    `by_table` is the part of it that is known, where an allow may match more by the firewall's own
    content.
    """

    traffic: tuple[Traffic, ...]
    exact: bool
    opened: bool
    by_table: ByTable | None = None


def rule_traffic(
    rule: Rule, objects: Objects, options: RuleOptions, *, surely: bool, accepted: bool
) -> RuleTraffic:
    """Read the services and applications of a rule.

    `surely`: what the rule surely matches, not what it may match. `accepted`: the configuration
    takes a list that is not wholly known for what is known of it.
    """
    services, applications = frozenset(rule.services), frozenset(rule.applications)
    nothing = RuleTraffic((), exact=True, opened=False)
    unsayable = RuleTraffic(() if surely else ANY_TRAFFIC, exact=False, opened=not surely)
    explicit = not services & {_ANY, _BY_DEFAULT}
    served = resolve_services(sorted(services), objects.services) if explicit else None
    named = None
    if _ANY not in applications:
        named = resolve_applications(sorted(applications), objects.applications, denied=not surely)
        if not named.traffic and not named.open_because:
            return nothing
    if served is not None and not served.served and not served.open_because:
        return nothing
    if surely:
        if (named is not None or _BY_DEFAULT in services) and (options.applications == "strict"):
            return unsayable
        exact = named is None and _BY_DEFAULT not in services
        found = ANY_TRAFFIC if named is None else named.traffic
        if served is not None:
            found = served.served if named is None else shared(named.traffic, served.served)
            exact = exact and not served.open_because
        return RuleTraffic(found, exact, opened=False)
    if served is not None:
        if served.open_because and not accepted:
            return unsayable
        exact = named is None and not served.open_because
        return RuleTraffic(served.served, exact, opened=named is not None)
    if named is None:
        return RuleTraffic(ANY_TRAFFIC, _ANY in services, opened=_BY_DEFAULT in services)
    if _BY_DEFAULT in services and not named.open_because:
        if not named.bundled:
            return RuleTraffic(named.traffic, exact=False, opened=True)
        # A firewall's content may have ports that the bundled table lacks: no deny rests on it.
        if rule.action == "allow":
            every = merged((*named.traffic, *beyond_table(named.bundled)))
            known = ByTable(named.bundled, named.traffic)
            return RuleTraffic(every, exact=False, opened=True, by_table=known)
    if options.deny_applications == "ports":
        return RuleTraffic(named.traffic, exact=False, opened=False)
    return unsayable
