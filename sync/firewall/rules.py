"""Rules as a rulebase holds them, before any name is resolved."""

from dataclasses import dataclass

ANY = ("any",)


@dataclass(frozen=True, slots=True)
class Target:
    """The firewalls a rule is meant for: all of them, unless devices or tags are named.

    `devices` are (serial, its virtual systems, none meaning all of them). `negate` turns the
    choice round; with nothing chosen it leaves no firewall at all.
    """

    devices: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tags: tuple[str, ...] = ()
    negate: bool = False


EVERYWHERE = Target()


@dataclass(frozen=True, slots=True)
class Rule:
    """One security rule. Fields that are absent in the document have their PAN-OS defaults.

    `constraints` are the elements that narrow a rule by what Calico cannot see (users, HIP
    profiles, URL categories, a schedule, …), with their members. `unreadable` says what of the
    rule the program does not know or could not read; a rule with any is unsayable.
    """

    name: str
    uuid: str = ""
    from_zones: tuple[str, ...] = ANY
    to_zones: tuple[str, ...] = ANY
    sources: tuple[str, ...] = ANY
    destinations: tuple[str, ...] = ANY
    negate_source: bool = False
    negate_destination: bool = False
    applications: tuple[str, ...] = ANY
    services: tuple[str, ...] = ("application-default",)
    action: str = "allow"
    rule_type: str = "universal"
    disabled: bool = False
    constraints: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tags: tuple[str, ...] = ()
    target: Target = EVERYWHERE
    description: str = ""
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NatRule:
    """A NAT rule that translates destinations.

    `translated` are the destinations that it translates, as packets carry them before that.
    """

    name: str
    translated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rulebases:
    """The rules of one scope: before and after those of the scopes below it, and its defaults.

    `defaults` maps `intrazone-default` and `interzone-default` to the override's action. Of the
    NAT rules, it has those that translate destinations and are not disabled.
    """

    pre: tuple[Rule, ...] = ()
    post: tuple[Rule, ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    nat_pre: tuple[NatRule, ...] = ()
    nat_post: tuple[NatRule, ...] = ()
