"""The Panorama that cassettes are recorded with as long as no real one is to be had."""

from datetime import UTC, datetime
from typing import Final

from tests.words import address, document, dynamic, entry, group, members, rule, service, tag, text
from zonebridge_simulator.authority import Authority
from zonebridge_simulator.panorama import Panorama

THE_SIMULATOR: Final = "the simulator of the tests"

USER, PASSWORD = "reader", "s3cret/+ &%"

# Secrets as templates hold them, none of anybody: they show that none gets into a cassette.
_ENCRYPTED = "-AQ==S/4wTN8v5OYXvgSA0ZbCYUvbXvs=7yMBAlqjfPu0yXyfPvXJZw=="
_PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n"
_SECRETS = (
    tag(
        "mgt-config",
        tag("users", entry("admin", text("phash", "$5$abcdefgh$notahashofanypasswordatall"))),
    ),
    tag(
        "shared",
        tag("certificate", entry("portal", text("private-key", _PRIVATE_KEY))),
        tag("snmp", text("snmp-community-string", "public-no-more")),
    ),
)

_ZONES = tag(
    "zone",
    entry("trust", tag("network", members("layer3", ["ethernet1/1"]))),
    entry("untrust", tag("network", members("layer3", ["ethernet1/2"]))),
)
_INTERFACES = tag(
    "ethernet",
    entry("ethernet1/1", tag("layer3", tag("ip", entry("10.0.0.1/24")))),
    entry("ethernet1/2", tag("layer3", tag("ip", entry("203.0.113.1/29")))),
)
_GATEWAYS = tag(
    "gateway",
    entry("hub", tag("authentication", tag("pre-shared-key", text("key", _ENCRYPTED)))),
)
_TEMPLATE = tag(
    "config",
    *_SECRETS,
    tag(
        "devices",
        entry(
            "localhost.localdomain",
            tag("network", tag("interface", _INTERFACES), tag("ike", _GATEWAYS)),
            tag("vsys", entry("vsys1", _ZONES)),
        ),
    ),
)
_PRECEDENCE = tag(
    "deviceconfig",
    tag("setting", tag("management", text("ancestor-objects-take-precedence", "no"))),
)

DOCUMENT: Final = document(
    [address("dns", "10.0.0.53"), service("web", "443"), dynamic("quarantined", "'quarantine'")],
    {
        "eu": [
            address("shop", "10.0.0.80"),
            group("servers", "shop", "dns"),
            rule("deny quarantined", source=["quarantined"], action="deny"),
        ],
        "berlin": [
            rule(
                "allow web", to=["trust"], destination=["servers"], service=["web"], action="allow"
            )
        ],
    },
    parents={"berlin": "eu"},
    devices=tag("template", entry("branch", _TEMPLATE))
    + tag("template-stack", entry("branches", members("templates", ["branch"])))
    + _PRECEDENCE,
)


CONTENT: Final = tag(
    "predefined",
    tag("application", entry("shop-base", tag("default", members("port", ["tcp/8443"])))),
    tag("application-container", entry("shop", members("functions", ["shop-base"]))),
).encode()


def simulated(authority: Authority) -> Panorama:
    """A small company's, at a time that stands still."""
    panorama = Panorama(
        DOCUMENT,
        authority,
        users={USER: PASSWORD},
        clock=lambda: datetime(2026, 1, 5, 8, 30, tzinfo=UTC),
    )
    panorama.predefined = CONTENT
    panorama.commit(administrator="alice", description="web for Berlin")
    panorama.registered = {"10.0.0.66": ["quarantine"], "10.0.0.67": ["quarantine", "printer"]}
    return panorama
