"""Every reason in a report ends with what to do, and every rule without Calico rules says why."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.firewall.reasons import Reason
from sync.firewall.regions import LISTS
from sync.firewall.zone_networks import NOTHING
from sync.options import RuleOptions, ZoneDefinition, ZoneOptions
from sync.settings import Settings
from sync.settings.shape import child
from sync.translate.compiler import Options
from sync.translate.fidelity import Report, RuleFidelity, Status
from sync.translate.network_sets import Target
from sync.translate.remedies import REMEDIES, remedy
from tests.translation import translate
from tests.words import (
    Word,
    address,
    dynamic,
    entry,
    external_list,
    group,
    members,
    rule,
    seen_by,
    service,
    tag,
    text,
)

CONFIGURATION = Path(__file__).parents[3] / "docs" / "configuration.md"
ZONES = {"a": ZoneDefinition(networks=("10.1.0.0/16",)), "b": ZoneDefinition(networks=())}
LIVE = "read a live Panorama (`sources[].kind: panorama`)"
TOP = "at the top level of the configuration"
ONLY_THERE = "list addresses instead: only firewalls have Palo Alto's lists"


def reported(*words: Word, **options: Any) -> Report:
    """The report on one device group with zones a, of a network, and b, pods only."""
    zones = ZoneOptions(definitions=options.pop("definitions", ZONES))
    rules = RuleOptions(**options)
    seen = seen_by("dg", {"dg": words})
    target = Target("main", seen, "fw", 101, "enforced", NOTHING)
    made = Options((), registered_known=False, owner=(), rules=rules, zones=zones)
    return translate("cluster", [target], made, {}).report


def one(name: str = "it", *extra: str, **lists: Sequence[str] | str) -> Word:
    usual: dict[str, Sequence[str] | str] = {
        "from_": ["a"],
        "to": ["b"],
        "source": ["any"],
        "destination": ["any"],
        "application": ["any"],
        "service": ["any"],
        "action": "allow",
    }
    return rule(name, *extra, **(usual | lists))


def line(*words: Word, **options: Any) -> RuleFidelity:
    return reported(*words, **options).rules[0]


# --- remedies -------------------------------------------------------------------------------------


def test_every_kind_of_reason_has_a_remedy_for_allows_and_denies() -> None:
    assert REMEDIES.keys() == {*Reason}
    for kind in Reason:
        for allow in (True, False):
            assert remedy([kind], rule="r", allow=allow, about="zone x").strip()


def paths_in(text: str) -> set[str]:
    """The keys that a text names between backticks, without their values."""
    return {each.partition(":")[0] for each in re.findall(r"`([^`]+)`", text)}


def is_setting(path: str) -> bool:
    """Whether the configuration has a key at a path, as `clusters[].pod_cidrs` or `fqdn`."""
    found: Any = Settings
    for step in path.replace("[]", ".[]").split("."):
        found = child(found, 0 if step == "[]" else step)
        if found is None:
            return False
    return True


def test_every_key_that_a_remedy_names_is_one_by_its_whole_path() -> None:
    said = " ".join(
        remedy([kind], rule="r", allow=allow) for kind in Reason for allow in (True, False)
    )
    named = paths_in(said)
    assert {
        "edl",
        "registered_ips",
        "sources[].kind",
        "clusters[].pod_cidrs",
        "rules.accept_dropped_members",
        "zones.definitions.NAME.workloads.namespace_selector",
    } <= named
    assert [each for each in named if not is_setting(each)] == []
    # One without a section is not looked for in one.
    for path in (each for each in named if "." not in each):
        assert re.search(rf"`{path}: \w+`( at the top level| accepts it)", said), path
    assert not is_setting("workloads.namespace_selector")


def test_every_key_that_a_remedy_names_stands_in_the_documents_so() -> None:
    documented = CONFIGURATION.read_text(encoding="utf-8")
    said = " ".join(
        remedy([kind], rule="r", allow=allow) for kind in Reason for allow in (True, False)
    )
    for path in paths_in(said):
        assert f"| `{path}` |" in documented, path


OBJECTS = (
    external_list("feed", "https://x/"),
    external_list("locked", "https://x/", "<auth><username>u</username></auth>"),
    external_list("theirs", "", kind="predefined-ip"),
    address("name", "www.example.com", kind="fqdn"),
    dynamic("found", "'tag'"),
    group("nested", "found"),
    group("lacking", "nobody"),
    service("odd", "many"),
)


ACCEPTED = {"members": "or let it deny only the rest:", "denies": "or leave it out:"}
DYNAMIC = f"{LIVE}; if nothing is registered at run time, set `registered_ips: optional` {TOP}"
COUNTRY = "use a custom region with addresses: only firewalls know those of countries"
BY_PORTS = "set `rules.deny_applications: ports`"
FAR = "give zone far networks in `zones.definitions.NAME.networks`, [] if pods only"
STRICT = "nothing: Calico cannot match applications (`rules.applications: strict` leaves it out)"
MISSING = "create the missing object in Panorama, or take it out of the list"


@pytest.mark.parametrize(
    ("fields", "allow", "deny", "accept"),
    [
        ({"source": ["feed"]}, f"set `edl: fetch` {TOP}", "", "members"),
        (
            {"source": ["locked"]},
            "make the list readable from here, without a login",
            "",
            "members",
        ),
        ({"source": ["theirs"]}, ONLY_THERE, "", "members"),
        *(
            ({"source": [name]}, ONLY_THERE, "", "members")
            for name in sorted({*LISTS, "panw-new-ip-list"})
        ),
        ({"source": ["DE"]}, COUNTRY, "", "members"),
        (
            {"source": ["name"]},
            f"set `fqdn: resolve` {TOP}",
            "use addresses instead of FQDNs in Panorama",
            "members",
        ),
        ({"source": ["nested"]}, DYNAMIC, "", "members"),
        ({"source": ["lacking"]}, MISSING, "", "members"),
        ({"source": ["feed", "DE"]}, f"set `edl: fetch` {TOP}; {COUNTRY}", "", "members"),
        ({"source_user": ["u"]}, "nothing: Calico cannot match users", "", "denies"),
        ({"category": ["c"]}, "nothing: Calico cannot match URL categories", "", "denies"),
        ({"service": ["odd"]}, "correct the service in Panorama", "", "members"),
        (
            {"application": ["nobody-knows"]},
            f"{LIVE}, or name services instead",
            f"{LIVE}, or {BY_PORTS}",
            "denies",
        ),
        (
            {"application": ["ssl"], "service": ["application-default"]},
            STRICT,
            f"{LIVE}, or {BY_PORTS}",
            "denies",
        ),
        ({"to": ["far"]}, FAR, "", ""),
    ],
)
def test_a_reason_ends_with_what_to_do(
    fields: dict[str, Any], allow: str, deny: str, accept: str
) -> None:
    kept = line(*OBJECTS, one("it", **fields))
    assert kept.remedies == (allow,), kept.reasons
    grown = line(*OBJECTS, one("it", action="deny", **fields))
    less = f"; {ACCEPTED[accept]} `rules.accept_dropped_{accept}: [it]`" if accept else ""
    assert grown.remedies == (f"{deny or allow}{less}",), grown.reasons
    if accept:
        options = {f"accept_dropped_{accept}": ("it",)}
        accepted = line(*OBJECTS, one("it", action="deny", **fields), **options)
        assert accepted.status is Status.MORE_PERMISSIVE
        assert accepted.remedies == ("nothing: a setting accepts it",)


def test_a_name_in_a_remedy_is_written_as_yaml_reads_it() -> None:
    for name in ("no", "10", "a: b", "it's", "plain name-1"):
        said = line(*OBJECTS, one(name, action="deny", source=["feed"])).remedies[0]
        (listed,) = re.findall(r"`rules\.accept_dropped_members: (\[.*\])`", said)
        assert yaml.safe_load(listed) == [name]


def test_what_a_remedy_says_to_accept_is_accepted() -> None:
    words = (*OBJECTS, one("no: 'feed'", action="deny", source=["feed"]))
    said = line(*words).remedies[0]
    assert said.endswith("`rules.accept_dropped_members: ['no: ''feed''']`")
    accepted = line(*words, accept_dropped_members=("no: 'feed'",))
    assert accepted.status is Status.MORE_PERMISSIVE
    assert accepted.remedies == ("nothing: a setting accepts it",)


def test_address_groups_and_zones_say_what_to_do_too() -> None:
    found = reported(*OBJECTS, one(to=["far"]))
    groups = {each.name: each.remedies for each in found.groups}
    assert groups["lacking"] == (REMEDIES[Reason.MISSING].fix,)
    assert groups["nested"] == groups["found"] == (REMEDIES[Reason.REGISTERED].fix,)
    (far,) = (each for each in found.zones if each.name == "far")
    assert far.remedies == (
        FAR,
        (
            "give zone far a `zones.definitions.NAME.workloads.namespace_selector`, or let only "
            "administrators label pods"
        ),
    )


def test_lists_of_palo_alto_are_called_what_they_are() -> None:
    for name in (*LISTS, "theirs", "panw-new-ip-list"):
        (reason,) = line(*OBJECTS, one(source=[name])).reasons
        assert f"{name!r} is a predefined external dynamic list" in reason


def test_a_custom_region_is_its_addresses() -> None:
    region = Word("region", entry("home", members("address", ["10.1.2.0/24"])))
    assert line(region, one(source=["home"])).status is Status.EXACT


# --- rules without Calico rules -------------------------------------------------------------------


NOBODY: dict[str, Any] = {"source": ["10.1.0.1"], "destination": ["2001:db8::1"]}


def firewalls(*devices: str) -> str:
    return tag("target", text("negate", "no"), tag("devices", *map(entry, devices)))


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (one(), Status.EXACT),
        (one(disabled="yes"), Status.DISABLED),
        (one("it", firewalls("9")), Status.NOT_TARGETED),
        # What an allow from an empty group selects may be filled any time.
        (one(source=["empty"]), Status.EXACT),
        (one(source=["empty"], action="deny"), Status.MATCHES_NOTHING),
        (one(source=["10.1.0.1"], destination=["2001:db8::1"]), Status.NOT_ENFORCED),
        (one(to=["a"], destination=["192.0.2.1"]), Status.EXACT),
        (one(from_=["b"], to=["b"], rule_type="interzone"), Status.NOT_ENFORCED),
        (one(source_user=["u"]), Status.LEFT_OUT),
        # What a setting accepts of an App-ID opens nothing where the rule has no ends here.
        (one(**NOBODY, application=["ssl"], service=["application-default"]), Status.NOT_ENFORCED),
        (one(**NOBODY, application=["ssl"]), Status.LEFT_OUT),
    ],
)
def test_a_rule_without_calico_rules_is_called_what_it_is(word: Word, status: Status) -> None:
    found = line(group("empty"), word, one("other"), devices=("1",))
    assert found.status is status
    assert bool(found.calico) == (status is Status.EXACT)
    assert len(found.remedies) == len(found.reasons)
    assert bool(found.reasons) == (status not in (Status.EXACT, Status.DISABLED))


def test_without_zones_no_rule_is_enforced() -> None:
    found = reported(
        one("allow", from_=["any"], to=["any"]),
        one("user", from_=["any"], to=["any"], source_user=["u"]),
        one("off", from_=["any"], to=["any"], disabled="yes"),
        definitions={},
    )
    assert [each.status for each in found.rules] == [
        Status.NOT_ENFORCED,
        Status.NOT_ENFORCED,
        Status.DISABLED,
    ]
    no_zone = ("its device group names no zone, so there are no pods that it could be for",)
    # What a rule would lose says nothing there.
    assert [each.reasons for each in found.rules] == [no_zone, no_zone, ()]
    assert found.device_groups[0].zones == 0
