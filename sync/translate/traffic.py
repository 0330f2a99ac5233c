"""Translate a rule's applications and services to protocols and ports.

    services                 applications any        named applications
    any                      any traffic             allow: their default traffic
    application-default      allow: any traffic *    allow: their default traffic
    explicit                 their traffic           allow: the default traffic among it

Calico sees no applications, so an allow of one allows everything on its ports: a loss that
`rules.applications: ports` accepts (`*` too) and `strict` does not. A deny of one must cover every
port that the application may use: all of its services, or with `application-default` the default
ports. If those are not all known, or only from the bundled table, it denies any traffic, unless
`rules.deny_applications: ports` accepts less.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sync.firewall.applications import Applications, resolve_applications
from sync.firewall.objects import Objects
from sync.firewall.reasons import Reason
from sync.firewall.rules import Rule
from sync.firewall.services import (
    ANY_TRAFFIC,
    Services,
    Traffic,
    resolve_services,
    shared,
)
from sync.options import RuleOptions
from sync.translate.fidelity import Loss, Status, loss

_ANY = "any"
_BY_DEFAULT = "application-default"
_WITHOUT_SERVICES = frozenset({_ANY, _BY_DEFAULT})
_EVERYTHING = (ANY_TRAFFIC,)
_ANY_BY_DEFAULT = "Calico cannot hold each application to its default ports (application-default)"

_Answer = tuple[tuple[Traffic, ...], tuple[Loss, ...]]


def traffic_of(rule: Rule, objects: Objects, options: RuleOptions, *, accepted: bool) -> _Answer:
    """The traffic that the Calico rules of a rule match, and the losses.

    Only its action, services and applications count; every action but `allow` is a deny. Neither
    list has `any` beside others (`sync.firewall.parse.rules`). `objects` are those that the device
    group sees (`sync.firewall.effective`). `accepted`: the configuration accepts that a deny's
    services shrink to those that Calico can express. No traffic at all means that the rule matches
    nothing that Calico can express: an allow is then left out, with a loss unless it matches
    nothing on the firewall either.
    """
    names = frozenset(rule.services)
    services = None
    if not names & _WITHOUT_SERVICES:
        services = resolve_services(sorted(names), objects.services)
    applications = None
    if _ANY not in rule.applications:
        applications = resolve_applications(
            sorted(set(rule.applications)), objects.applications, denied=rule.action != "allow"
        )
        if not applications.traffic and not applications.open_because:
            return (), ()
    if rule.action == "allow":
        return _allowed(rule, services, applications, options)
    return _denied(rule, services, applications, options, accepted=accepted)


def _allowed(
    rule: Rule, services: Services | None, applications: Applications | None, options: RuleOptions
) -> _Answer:
    """An allow. `services` are None for `any` and `application-default`."""
    if services is not None and not services.served and not services.open_because:
        return (), ()
    losses: list[Loss] = []
    if services is not None and services.open_because:
        losses.append(loss(Status.NARROWED, _listed(services.open_because), Reason.SERVICE))
    if applications is None:
        if services is not None:
            return _or_left_out(services.served, losses)
        if _ANY in rule.services:
            return _EVERYTHING, ()
        if options.applications == "strict":
            return (), (loss(Status.LEFT_OUT, _ANY_BY_DEFAULT, Reason.APP_DEFAULT),)
        return _EVERYTHING, (
            loss(
                Status.MORE_PERMISSIVE,
                f"{_ANY_BY_DEFAULT}, so any traffic is allowed",
                Reason.APP_DEFAULT,
            ),
        )
    if options.applications == "strict":
        return (), (
            loss(
                Status.LEFT_OUT,
                f"{_named(rule)} {_is(rule)} more than {_its(rule)} ports",
                Reason.APP_STRICT,
            ),
        )
    if applications.open_because:
        losses.append(
            loss(Status.NARROWED, _listed(applications.open_because), *applications.kinds)
        )
    if not applications.traffic:
        return _or_left_out((), losses)
    traffic, lost = _on_default_ports(rule, services, applications)
    losses += lost
    if traffic:
        losses.append(_by_ports(rule, Status.MORE_PERMISSIVE, traffic))
    return _or_left_out(traffic, losses)


def _on_default_ports(
    rule: Rule, services: Services | None, applications: Applications
) -> tuple[tuple[Traffic, ...], list[Loss]]:
    """The ports of an allow by its applications and services, and its losses."""
    losses: list[Loss] = []
    traffic = applications.traffic
    if services is not None:
        traffic = shared(traffic, services.served)
        if not traffic:
            ports = _spoken(applications.traffic)
            losses.append(
                loss(
                    Status.NARROWED,
                    f"the default ports of {_named(rule)} ({ports}) are not among its services",
                    Reason.APP_SERVICES,
                )
            )
        elif traffic != services.served:
            losses.append(
                loss(
                    Status.NARROWED,
                    f"of its services only {_spoken(traffic)} {_is(traffic)} among the default "
                    f"ports of {_named(rule)}",
                    Reason.APP_SERVICES,
                )
            )
    elif _ANY in rule.services:
        losses.append(
            loss(
                Status.NARROWED,
                f"{_named(rule)} {_is(rule)} not allowed on other than {_its(rule)} default ports",
                Reason.APP_SERVICES,
            )
        )
    return traffic, losses


def _or_left_out(traffic: tuple[Traffic, ...], losses: Sequence[Loss]) -> _Answer:
    """Leave out an allow without traffic, with all of its losses as reasons."""
    if traffic:
        return traffic, tuple(losses)
    return (), tuple(replace(each, status=Status.LEFT_OUT) for each in losses)


def _denied(
    rule: Rule,
    services: Services | None,
    applications: Applications | None,
    options: RuleOptions,
    *,
    accepted: bool,
) -> _Answer:
    """A deny. `services` are None for `any` and `application-default`."""
    if services is not None:
        return _denied_services(rule, services, applications, accepted=accepted)
    if applications is None:
        if _ANY in rule.services:
            return _EVERYTHING, ()
        reason = f"{_ANY_BY_DEFAULT}, so any traffic is denied"
        return _EVERYTHING, (loss(Status.WIDENED, reason, Reason.APP_DEFAULT),)
    unknown = [_listed(applications.open_because)] if applications.open_because else []
    kinds = {*applications.kinds}
    if _BY_DEFAULT not in rule.services:
        unknown = unknown or [f"{_named(rule)} may be on any port"]
        kinds = kinds or {Reason.APP_ANY_PORT}
    elif applications.bundled:
        unknown.append(
            f"the ports of {_apps(applications.bundled)} are from a table that zonebridge brings, "
            "which may lack some"
        )
        kinds.add(Reason.APP_TABLE)
    if not unknown:
        return applications.traffic, (_by_ports(rule, Status.WIDENED, applications.traffic),)
    because = ", ".join(unknown)
    if options.deny_applications == "ports":
        left = _spoken(applications.traffic) or "nothing"
        return applications.traffic, (
            loss(Status.MORE_PERMISSIVE, f"{because}, and only {left} is denied", Reason.ACCEPTED),
        )
    return _EVERYTHING, (loss(Status.WIDENED, f"{because}, so any traffic is denied", *kinds),)


def _denied_services(
    rule: Rule, services: Services, applications: Applications | None, *, accepted: bool
) -> _Answer:
    losses: list[Loss] = []
    if applications is not None and (services.served or services.open_because):
        losses.append(
            loss(
                Status.WIDENED,
                f"{_named(rule)} cannot be told from others on its services",
                Reason.APP_PORTS,
            )
        )
    if not services.open_because:
        return services.served, tuple(losses)
    because = _listed(services.open_because)
    if not accepted:
        losses.append(loss(Status.WIDENED, f"{because}, so any traffic is denied", Reason.SERVICE))
        return _EVERYTHING, tuple(losses)
    left = _spoken(services.served) or "nothing"
    losses.append(
        loss(Status.MORE_PERMISSIVE, f"{because}, and only {left} is denied", Reason.ACCEPTED)
    )
    return services.served, tuple(losses)


# --- clauses for an engineer, however long the lists ----------------------------------------------

_MANY = 5
_LONG = 200


def _by_ports(rule: Rule, status: Status, traffic: tuple[Traffic, ...]) -> Loss:
    return loss(
        status,
        f"{_named(rule)} {_is(rule)} matched by {_its(rule)} default ports alone "
        f"({_spoken(traffic)})",
        Reason.APP_PORTS,
    )


def _one(rule: Rule) -> bool:
    return len(set(rule.applications)) == 1


def _named(rule: Rule) -> str:
    return _apps(sorted(set(rule.applications)))


def _apps(names: Sequence[str]) -> str:
    return f"App-ID{'' if len(names) == 1 else 's'} {_listed(names)}"


def _is(what: Rule | tuple[Traffic, ...]) -> str:
    one = _one(what) if isinstance(what, Rule) else len(what) == 1
    return "is" if one else "are"


def _its(rule: Rule) -> str:
    return "its" if _one(rule) else "their"


def _spoken(traffic: Iterable[Traffic]) -> str:
    return _listed([str(each) for each in traffic])


def _listed(clauses: Sequence[str]) -> str:
    said = ", ".join(_short(each) for each in clauses[:_MANY])
    return said if len(clauses) <= _MANY else f"{said} and {len(clauses) - _MANY} more"


def _short(clause: str) -> str:
    return clause if len(clause) <= _LONG else f"{clause[: _LONG - 1]}…"
