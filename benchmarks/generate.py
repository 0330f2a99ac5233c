"""A large Panorama configuration as PAN-OS writes one, the same bytes for the same numbers.

    python -m benchmarks.generate /tmp/large.xml --addresses 50000 --rules 10000

Shared and three levels of device groups; most objects live in the lowest. A few addresses are
used by very many groups and rules and most by hardly any, as in every configuration that has grown.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from uuid import UUID
from xml.sax.saxutils import escape, quoteattr

_TAGS = (*(f"tag-{number:02}" for number in range(40)), "Legacy System", "Tier 1")
# Groups have tags of their own: a dynamic group that matches groups soon finds itself in a circle.
_TEAMS = tuple(f"team-{number:02}" for number in range(12))
_ZONES = tuple(f"zone-{number:02}" for number in range(1, 21))
_APPLICATIONS = ("ssl", "web-browsing", "ssh", "dns", "ntp", "postgres", "ldap", "snmp", "ping")
_REGIONS = ("eu", "us", "asia", "south")
_SITES = ("a", "b", "c")
_SERVICES = 400
_V4_BASE = int(IPv4Address("10.0.0.0"))
_V6_BASE = int(IPv6Address("2001:db8::"))


@dataclass
class _Scope:
    """Shared or a device group, and the share of all objects that lies in it."""

    name: str
    parent: _Scope | None
    share: float
    addresses: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def chain(self) -> list[_Scope]:
        """The scope and those above it, the nearest first."""
        return [self, *(self.parent.chain() if self.parent is not None else ())]


def generate(
    addresses: int = 50_000,
    groups: int = 5_000,
    members: int = 20,
    rules: int = 10_000,
    seed: int = 1,
    *,
    one_device_group: bool = False,
    wildcards: bool = True,
) -> bytes:
    """The document as UTF-8.

    With `one_device_group` everything lies in `site-a` below shared, which sees all of it, and
    there are no templates. Two addresses in a thousand are `wildcards`.
    `addresses`, `groups` and `rules` are totals over all scopes, `members` is how many a static
    group has. One group in twenty is dynamic, one in ten also holds other groups.
    """
    random = Random(seed)
    scopes = _scopes()
    if one_device_group:
        shared = _Scope("shared", None, 0.0)
        scopes = [shared, _Scope("site-a", shared, 1.0)]
    bodies: dict[str, list[str]] = {}
    # From the top down, so that every scope knows what it may refer to.
    sizes = zip(
        _shares(scopes, addresses), _shares(scopes, groups), _shares(scopes, rules), strict=True
    )
    for scope, (many_addresses, many_groups, many_rules) in zip(scopes, sizes, strict=True):
        body: list[str] = []
        if scope.parent is None:
            _write_shared_objects(body, random)
        _write_addresses(body, random, scope, many_addresses, wildcards=wildcards)
        _write_groups(body, random, scope, many_groups, members)
        _write_rulebases(body, random, scope, many_rules)
        bodies[scope.name] = body
    templates = [] if one_device_group else _templates(scopes)
    return "\n".join(_document(scopes, bodies, templates)).encode()


def _scopes() -> list[_Scope]:
    shared = _Scope("shared", None, 0.10)
    everywhere = _Scope("global", shared, 0.10)
    regions = [_Scope(f"region-{name}", everywhere, 0.20 / len(_REGIONS)) for name in _REGIONS]
    sites = [
        _Scope(f"site-{region.name[7:]}-{name}", region, 0.60 / len(_REGIONS) / len(_SITES))
        for region in regions
        for name in _SITES
    ]
    return [shared, everywhere, *regions, *sites]


def _shares(scopes: list[_Scope], total: int) -> list[int]:
    """How many each scope gets; the first also gets what rounding leaves."""
    sizes = [int(total * scope.share) for scope in scopes]
    sizes[0] += total - sum(sizes)
    return sizes


def _skewed(random: Random, names: list[str]) -> str:
    """The first names far more often than the last."""
    return names[int(len(names) * random.random() ** 3)]


def _visible(random: Random, scope: _Scope, kind: str) -> str | None:
    """A name that the scope can refer to, most often its own; None if there is none yet."""
    choices = [names for found in scope.chain() if (names := getattr(found, kind))]
    if not choices:
        return None
    return _skewed(random, choices[0] if random.random() < 0.7 else random.choice(choices))


# --- objects --------------------------------------------------------------------------------------


def _members(tag: str, names: list[str], depth: int) -> str:
    pad = "  " * depth
    inner = "".join(f"\n{pad}  <member>{escape(name)}</member>" for name in names)
    return f"{pad}<{tag}>{inner}\n{pad}</{tag}>"


def _write_shared_objects(body: list[str], random: Random) -> None:
    body.append("    <tag>")
    for number, tag in enumerate((*_TAGS, *_TEAMS)):
        body.append(f"      <entry name={quoteattr(tag)}>")
        body.append(f"        <color>color{number % 16 + 1}</color>")
        body.append("      </entry>")
    body.append("    </tag>\n    <service>")
    for number in range(_SERVICES):
        protocol = random.choice(("tcp", "tcp", "tcp", "udp"))
        first = random.randrange(1024, 60000)
        port = random.choice((f"{first}", f"{first}-{first + 40}", f"{first},{first + 7}"))
        body.append(f'      <entry name="service-{number:04}">')
        body.append(f"        <protocol>\n          <{protocol}>")
        body.append(f"            <port>{port}</port>")
        body.append("            <override>\n              <no/>\n            </override>")
        body.append(f"          </{protocol}>\n        </protocol>\n      </entry>")
    body.append("    </service>")


def _value(random: Random, *, wildcards: bool) -> tuple[str, str]:
    """The kind and the text of an address object."""
    kind = random.random()
    host = _V4_BASE + random.randrange(2**24)
    if kind < 0.62:
        return "ip-netmask", f"{IPv4Address(host)}{random.choice(('', '/32'))}"
    if kind < 0.80:
        bits = random.choice((16, 20, 22, 24, 24, 24, 26, 28, 30))
        # One network in three keeps the host bits of the interface it was typed for.
        kept = host if random.random() < 0.33 else host >> (32 - bits) << (32 - bits)
        return "ip-netmask", f"{IPv4Address(kept)}/{bits}"
    if kind < 0.92:
        return "ip-range", f"{IPv4Address(host)}-{IPv4Address(host + random.randrange(1, 200))}"
    if kind < 0.97:
        return "ip-netmask", f"{IPv6Address(_V6_BASE + (random.randrange(2**24) << 64))}/64"
    if kind < 0.998 or not wildcards:
        return "fqdn", f"host-{random.randrange(10**6)}.example"
    return "ip-wildcard", f"{IPv4Address(host)}/0.0.255.0"


def _write_addresses(
    body: list[str], random: Random, scope: _Scope, many: int, *, wildcards: bool
) -> None:
    body.append("    <address>")
    above = [name for found in scope.chain()[1:] for name in found.addresses[:50]]
    for number in range(many):
        # One in a hundred hides an address of the same name further up.
        shadows = bool(above) and number < many // 100 and number < len(above)
        name = above[number] if shadows else f"{scope.name}-host-{number:05}"
        scope.addresses.append(name)
        kind, text = _value(random, wildcards=wildcards)
        body.append(f'      <entry name="{name}">')
        body.append(f"        <{kind}>{text}</{kind}>")
        if random.random() < 0.15:
            body.append(f"        <description>Ticket {random.randrange(10**6)}</description>")
        if kind != "ip-wildcard" and random.random() < 0.3:
            body.append(_members("tag", random.sample(_TAGS, random.choice((1, 1, 2))), 4))
        body.append("      </entry>")
    body.append("    </address>")


def _write_groups(body: list[str], random: Random, scope: _Scope, many: int, members: int) -> None:
    body.append("    <address-group>")
    for number in range(many):
        body.append(f'      <entry name="{scope.name}-group-{number:04}">')
        kind = random.random()
        if kind < 0.05:
            one, other = random.sample(_TAGS, 2)
            operator = random.choice(("and", "or"))
            body.append("        <dynamic>")
            body.append(f"          <filter>'{one}' {operator} '{other}'</filter>")
            body.append("        </dynamic>")
        else:
            chosen: dict[str, None] = {}
            # Only groups that are there already, so that there is no cycle.
            if kind < 0.15 and scope.groups:
                chosen |= {_skewed(random, scope.groups): None for _ in range(3)}
            # Draws repeat themselves, and a small document may not have so many names.
            for _ in range(members * 3):
                if len(chosen) == members:
                    break
                name = _visible(random, scope, "addresses")
                if name is not None:
                    chosen[name] = None
            body.append("        <static>")
            body.extend(f"          <member>{name}</member>" for name in chosen)
            body.append("        </static>")
        if random.random() < 0.2:
            body.append(_members("tag", [random.choice(_TEAMS)], 4))
        body.append("      </entry>")
        scope.groups.append(f"{scope.name}-group-{number:04}")
    body.append("    </address-group>")


# --- rules ----------------------------------------------------------------------------------------


def _write_rulebases(body: list[str], random: Random, scope: _Scope, many: int) -> None:
    pre = many * 85 // 100
    for rulebase, first, last in (("pre", 0, pre), ("post", pre, many)):
        body.append(f"    <{rulebase}-rulebase>\n      <security>\n        <rules>")
        for number in range(first, last):
            _write_rule(body, random, scope, f"{scope.name}-rule-{number:05}")
        body.append(f"        </rules>\n      </security>\n    </{rulebase}-rulebase>")


def _ends(random: Random, scope: _Scope) -> list[str]:
    """The members of a source or a destination."""
    if random.random() < 0.15:
        return ["any"]
    kinds = ("groups", "groups", "addresses")
    many = random.choice((1, 1, 2, 3, 5))
    names = [_visible(random, scope, random.choice(kinds)) for _ in range(many)]
    return list(dict.fromkeys(name for name in names if name is not None)) or ["any"]


def _write_rule(body: list[str], random: Random, scope: _Scope, name: str) -> None:
    uuid = UUID(int=random.getrandbits(128), version=4)
    services = random.sample(range(_SERVICES), random.choice((1, 1, 2, 4)))
    body.append(f'          <entry name="{name}" uuid="{uuid}">')
    body.append("            <target>\n              <negate>no</negate>\n            </target>")
    for tag, names in (
        ("to", random.sample(_ZONES, random.choice((1, 1, 2)))),
        ("from", random.sample(_ZONES, random.choice((1, 1, 1, 3)))),
        ("source", _ends(random, scope)),
        ("destination", _ends(random, scope)),
        ("source-user", ["any"]),
        ("category", ["any"]),
        (
            "application",
            ["any"] if random.random() < 0.6 else random.sample(_APPLICATIONS, 2),
        ),
        (
            "service",
            ["application-default"]
            if random.random() < 0.3
            else [f"service-{number:04}" for number in services],
        ),
        ("source-hip", ["any"]),
        ("destination-hip", ["any"]),
    ):
        body.append(_members(tag, names, 6))
    if random.random() < 0.4:
        body.append(_members("tag", random.sample(_TAGS, random.choice((1, 2))), 6))
    action = random.choice(("allow", "allow", "allow", "allow", "deny", "drop"))
    body.append(f"            <action>{action}</action>")
    body.append("            <log-setting>default</log-setting>")
    body.append("            <log-end>yes</log-end>")
    if random.random() < 0.05:
        body.append("            <disabled>yes</disabled>")
    if random.random() < 0.03:
        body.append("            <negate-destination>yes</negate-destination>")
    body.append(f"            <description>Change {random.randrange(10**6)}, {name}</description>")
    body.append("          </entry>")


# --- the whole ------------------------------------------------------------------------------------


def _serials(scope: _Scope, scopes: list[_Scope]) -> tuple[str, ...]:
    """The two firewalls of a site."""
    if not scope.name.startswith("site-"):
        return ()
    number = scopes.index(scope)
    return (f"0120010{number:04}1", f"0120010{number:04}2")


def _document(
    scopes: list[_Scope], bodies: dict[str, list[str]], templates: list[str]
) -> list[str]:
    lines = [
        '<?xml version="1.0"?>',
        '<config version="11.1.0" urldb="paloaltonetworks" detail-version="11.1.6">',
        "  <mgt-config>\n    <devices>",
    ]
    for scope in scopes:
        lines += [f'      <entry name="{serial}"/>' for serial in _serials(scope, scopes)]
    lines += ["    </devices>\n  </mgt-config>", "  <shared>", *bodies["shared"], "  </shared>"]
    lines += ["  <devices>", '    <entry name="localhost.localdomain">', "      <device-group>"]
    for scope in scopes[1:]:
        lines.append(f'        <entry name="{scope.name}">')
        lines.append("          <devices>")
        lines += [f'            <entry name="{serial}"/>' for serial in _serials(scope, scopes)]
        lines.append("          </devices>")
        # Device groups lie three levels deeper than Shared.
        lines.append("      " + "\n".join(bodies[scope.name]).replace("\n", "\n      "))
        lines.append("        </entry>")
    lines += ["      </device-group>", *templates, "    </entry>\n  </devices>"]
    lines += _readonly(scopes)
    lines.append("</config>\n")
    return lines


def _templates(scopes: list[_Scope]) -> list[str]:
    """A template with every zone for each region, a stack for each site."""
    lines = ["      <template>"]
    for number, region in enumerate(_REGIONS):
        lines.append(f'        <entry name="network-{region}">\n          <config>')
        lines.append('            <devices>\n              <entry name="localhost.localdomain">')
        lines.append("                <network>\n                  <interface>")
        lines.append(
            '                    <ethernet>\n                      <entry name="ethernet1/1">'
        )
        lines.append("                        <layer3>\n                          <units>")
        lines.extend(
            f'                            <entry name="ethernet1/1.{unit}"><ip>'
            f'<entry name="10.{number * 64 + unit}.0.1/16"/></ip><tag>{unit}</tag></entry>'
            for unit in range(1, len(_ZONES) + 1)
        )
        lines.append("                          </units>\n                        </layer3>")
        lines.append("                      </entry>\n                    </ethernet>")
        lines.append("                  </interface>\n                </network>")
        lines.append('                <vsys>\n                  <entry name="vsys1">')
        lines.append("                    <zone>")
        for unit, zone in enumerate(_ZONES, start=1):
            lines.append(
                f'                      <entry name="{zone}"><network><layer3>'
                f"<member>ethernet1/1.{unit}</member></layer3></network></entry>"
            )
        lines.append("                    </zone>\n                  </entry>")
        lines.append("                </vsys>\n              </entry>\n            </devices>")
        lines.append("          </config>\n        </entry>")
    lines.append("      </template>\n      <template-stack>")
    for scope in scopes:
        serials = _serials(scope, scopes)
        if serials and scope.parent is not None:
            devices = "".join(f'<entry name="{serial}"/>' for serial in serials)
            lines.append(
                f'        <entry name="stack-{scope.name}"><templates>'
                f"<member>network-{scope.parent.name[7:]}</member></templates>"
                f"<devices>{devices}</devices></entry>"
            )
    lines.append("      </template-stack>")
    return lines


def _readonly(scopes: list[_Scope]) -> list[str]:
    lines = ["  <readonly>\n    <devices>", '      <entry name="localhost.localdomain">']
    lines.append("        <device-group>")
    for number, scope in enumerate(scopes[1:], start=11):
        lines.append(f'          <entry name="{scope.name}">\n            <id>{number}</id>')
        if scope.parent is not None and scope.parent.parent is not None:
            lines.append(f"            <parent-dg>{scope.parent.name}</parent-dg>")
        lines.append("          </entry>")
    lines.append("        </device-group>\n      </entry>\n    </devices>\n  </readonly>")
    return lines


def main() -> None:
    """Write a document to a file."""
    parser = argparse.ArgumentParser(description="Write a large Panorama configuration.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--addresses", type=int, default=50_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    sizes = vars(parser.parse_args())
    path: Path = sizes.pop("path")
    path.write_bytes(generate(**sizes))


if __name__ == "__main__":
    main()
