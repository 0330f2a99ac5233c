"""The traffic of one rule of the firewall, as the proof reads its services and applications."""

from typing import Final

from sync.firewall.applications import resolve_applications
from sync.firewall.objects import Objects
from sync.firewall.rules import Rule
from sync.firewall.services import Traffic, resolve_services, shared
from sync.options import RuleOptions

_ANY: Final = "any"
_BY_DEFAULT: Final = "application-default"

ANY_TRAFFIC: Final = (Traffic(),)


def rule_traffic(
    rule: Rule, objects: Objects, options: RuleOptions, *, surely: bool, accepted: bool
) -> tuple[tuple[Traffic, ...], bool, bool]:
    """The traffic, whether it is exactly the rule's, and whether a deny grew by unknown parts.

    `surely`: what the rule surely matches, not what it may match. `accepted`: the configuration
    takes a list that is not wholly known for what is known of it.
    """
    services, applications = frozenset(rule.services), frozenset(rule.applications)
    unsayable: tuple[tuple[Traffic, ...], bool, bool]
    unsayable = ((), False, False) if surely else (ANY_TRAFFIC, False, True)
    explicit = not services & {_ANY, _BY_DEFAULT}
    served = resolve_services(sorted(services), objects.services) if explicit else None
    named = None
    if _ANY not in applications:
        named = resolve_applications(sorted(applications), objects.applications, denied=not surely)
        if not named.traffic and not named.open_because:
            return (), True, False
    if served is not None and not served.served and not served.open_because:
        return (), True, False
    if surely:
        if (named is not None or _BY_DEFAULT in services) and (options.applications == "strict"):
            return (), False, False
        exact = named is None and _BY_DEFAULT not in services
        found = ANY_TRAFFIC if named is None else named.traffic
        if served is not None:
            found = served.served if named is None else shared(named.traffic, served.served)
            exact = exact and not served.open_because
        return found, exact, False
    if served is not None:
        if served.open_because and not accepted:
            return unsayable
        return served.served, named is None and not served.open_because, named is not None
    if named is None:
        return ANY_TRAFFIC, _ANY in services, _BY_DEFAULT in services
    # A firewall's content may have ports that the bundled table lacks: no deny rests on it.
    by_table = bool(named.bundled) and rule.action != "allow"
    if _BY_DEFAULT in services and not named.open_because and not by_table:
        return named.traffic, False, True
    if options.deny_applications == "ports":
        return named.traffic, False, False
    return unsayable
