"""Every reason in a report ends with what to do, and every rule without Calico rules says why."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.firewall.addressing import literal
from sync.firewall.configuration import Provenance, Snapshot
from sync.firewall.effective import as_known, effective
from sync.firewall.estimate import Estimate
from sync.firewall.reasons import Reason
from sync.firewall.regions import LISTS
from sync.firewall.runtime import Registrations, tagged
from sync.firewall.zone_networks import NOTHING
from sync.net.addresses import NOWHERE, network
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
    document,
    dynamic,
    entry,
    external_list,
    group,
    members,
    read,
    rule,
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
    """The report on one device group with zones a, of a network, and b, pods only.

    `told` is what its snapshot has beside the configuration.
    """
    zones = ZoneOptions(definitions=options.pop("definitions", ZONES))
    told = options.pop("told", {})
    accepted = options.pop("registered_accepted", False)
    rules = options.pop("rules", None) or RuleOptions(**options)
    snapshot = Snapshot(
        read(document((), {"dg": words})), Provenance("main", "a test", "1"), **told
    )
    seen = as_known(effective(snapshot.configuration, "dg"), snapshot)
    target = Target("main", seen, "fw", 101, "enforced", NOTHING)
    made = Options(
        (),
        registered_known=accepted,
        owner=(),
        rules=rules,
        zones=zones,
        registered_accepted=accepted,
    )
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


LEAVING_OUT = ", which leaves it out: there is no rest"
ACCEPTED = {"members": "or let it deny only the rest:", "denies": "or leave it out:"}
DYNAMIC = f"{LIVE}; if nothing is registered at run time, set `registered_ips: optional` {TOP}"
COUNTRY = "use a custom region with addresses: only firewalls know those of countries"
BY_PORTS = "set `rules.deny_applications: ports`"
FAR = (
    "give zone far networks in `zones.definitions.NAME.networks`; [] only to a zone that has pods "
    "only"
)
STRICT = "nothing: Calico cannot match applications (`rules.applications: strict` leaves it out)"
MISSING = "create the missing object in Panorama, or take it out of the list"


@pytest.mark.parametrize(
    ("fields", "allow", "deny", "accept"),
    [
        ({"source": ["feed"]}, f"set `edl: fetch` {TOP}", "", "members"),
        (
            {"source": ["locked"]},
            "make the list readable from here: no login, no exceptions, an address on each line",
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
    said = tuple(each.removesuffix(LEAVING_OUT) for each in grown.remedies)
    assert said == (f"{deny or allow}{less}",), grown.reasons
    if accept:
        options = {f"accept_dropped_{accept}": ("it",)}
        accepted = line(*OBJECTS, one("it", action="deny", **fields), **options)
        assert accepted.status is Status.MORE_PERMISSIVE
        assert accepted.remedies == ("nothing: a setting accepts it",)
        if grown.remedies != said:
            assert not accepted.calico


def test_a_deny_of_which_no_rest_is_left_is_said_to_be_left_out() -> None:
    words = (*OBJECTS, HOST)
    alone = line(*words, one("it", action="deny", source=["feed"])).remedies[0]
    assert alone.endswith(LEAVING_OUT)
    beside = line(*words, one("it", action="deny", source=["feed", "host"])).remedies[0]
    assert beside.endswith("`rules.accept_dropped_members: [it]`")


APP_FILTER = Word("application-filter", entry("filter", members("category", ["x"])))
APP_GROUP = Word("application-group", entry("circle", members("members", ["circle"])))
APP_ODD = Word("application", entry("odd-app", tag("default", tag("port", text("member", "?")))))
APP_ANY = Word(
    "application", entry("any-app", tag("default", tag("port", text("member", "tcp/dynamic"))))
)
APP_OTHER = Word("application", entry("any-app"))
APP_FILTERED = Word("application-filter", entry("filter", members("category", ["y"])))
HOST = address("host", "10.1.0.1")
BY_DEFAULT = {"service": ["application-default"]}
SSL = {"application": ["ssl"]}
PORTS = RuleOptions(deny_applications="ports")
STRICT_OPTIONS = RuleOptions(applications="strict")
FIREWALLS = RuleOptions(devices=("1", "2"))


def registered(*firewalls: Mapping[str, Sequence[str]], **told: Any) -> Mapping[str, Any]:
    """What firewalls tell about registered addresses, by address."""
    rows = (
        [(found, tags) for text, tags in each.items() if (found := literal(text))]
        for each in firewalls
    )
    return {"registered": {"dg": Registrations(tuple(map(tagged, rows)), **told)}}


DNS: Mapping[str, Any] = {"names": {"www.example.com": network("10.1.9.9"), "no.example": NOWHERE}}


@dataclass(frozen=True)
class Case:
    """A rule, and the kinds of each of its reasons for an allow and for a deny; None: no reason."""

    fields: Mapping[str, Any]
    allow: Sequence[Sequence[Reason]] = ()
    deny: Sequence[Sequence[Reason]] = ()
    words: Sequence[Word] = ()
    extra: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)
    accepted: bool = False
    options: RuleOptions = field(default_factory=RuleOptions)


def devices(*serials: str) -> str:
    return tag("devices", *map(entry, serials))


def target(*inner: str) -> str:
    return tag("target", text("negate", "no"), *inner)


def both(fields: Mapping[str, Any], *kinds: Reason, **more: Any) -> Case:
    """The same reason for an allow as for a deny."""
    return Case(fields, (kinds,), (kinds,), **more)


R = Reason
CASES = {
    "users": both({"source_user": ["u"]}, R.USERS),
    "hip": both({"source_hip": ["h"]}, R.HIP),
    "far hip": both({"destination_hip": ["h"]}, R.HIP),
    "old hip": both({"hip_profiles": ["h"]}, R.HIP),
    "category": both({"category": ["c"]}, R.CATEGORY),
    "schedule": both({"schedule": "s"}, R.SCHEDULE),
    "what only mobile networks know": both({"source_imsi": ["1"]}, R.CONSTRAINT),
    "unreadable": both({"negate_source": "perhaps"}, R.UNREADABLE),
    "list": both({"source": ["feed"]}, R.EXTERNAL_LIST),
    **{
        f"list of {kind}": both(
            {"source": ["other"]},
            R.EXTERNAL_LIST_TYPE,
            words=[external_list("other", "https://x/", kind=kind)],
        )
        for kind in ("domain", "url", "predefined-url", "imsi")
    },
    "odd list": both(
        {"source": ["feed"]},
        R.EXTERNAL_LIST_PROBLEM,
        told={"lists": {"https://x/": Estimate(NOWHERE, None, because=("its line 1 is odd",))}},
    ),
    "fqdn": both({"source": ["name"]}, R.FQDN),
    "fqdn in a group": both({"source": ["g"]}, R.FQDN, words=[group("g", "name", "host")]),
    "fqdn, answered": Case(
        {"source": ["name"]}, ((R.ACCEPTED,), (R.FQDN_ANSWERED,)), ((R.FQDN_ANSWERED,),), told=DNS
    ),
    "fqdn, not answered": both(
        {"source": ["mute"]},
        R.FQDN_UNANSWERED,
        words=[address("mute", "no.example", kind="fqdn")],
        told=DNS,
    ),
    "not known at run time": both({"source": ["found"]}, R.REGISTERED),
    "taken as none": Case(
        {"source": ["found"], "negate_source": "yes"},
        ((R.REGISTERED_OPTIONAL,),),
        accepted=True,
    ),
    "taken as none by a deny": Case(
        {"source": ["found"]}, (), ((R.REGISTERED_OPTIONAL,),), accepted=True
    ),
    "not told": both(
        {"source": ["found"]}, R.REGISTERED_UNTOLD, told=registered({}, missing=("1 is away",))
    ),
    "told late": both(
        {"source": ["found"]},
        R.REGISTERED_DIFFERS,
        told=registered({"10.1.0.5": ["tag"]}, late=("1 is away",)),
    ),
    "told differently": both(
        {"source": ["found"]},
        R.REGISTERED_DIFFERS,
        told=registered({"10.1.0.5": ["tag"], "10.1.0.6": ["tag"]}, {"10.1.0.5": ["tag"]}),
    ),
    "told within others": both(
        {"source": ["but"]},
        R.REGISTERED_NEGATED,
        words=[dynamic("but", "'tag' and not 'b'")],
        told=registered({"10.1.0.0/30": ["tag"], "10.1.0.1": ["b"]}),
    ),
    "two groups": both({"source": ["lacking"]}, R.OBJECT, words=[group("lacking", "host")]),
    "exceptions": both(
        {"source": ["but"]},
        R.EXTERNAL_LIST_PROBLEM,
        words=[external_list("but", "https://y/", members("exception-list", ["10.1.0.5"]))],
        told={"lists": {"https://y/": Estimate.exactly(network("10.1.0.0/24"))}},
    ),
    "missing": both({"source": ["nobody"]}, R.MISSING),
    "missing member": both({"source": ["lacking"]}, R.MISSING),
    "odd object": both({"source": ["x"]}, R.OBJECT, words=[address("x", "?")]),
    "odd member": both(
        {"source": ["g"]}, R.OBJECT, words=[address("x", "?"), group("g", "x", "host")]
    ),
    "circle": both({"source": ["g"]}, R.OBJECT, words=[group("g", "g", "host")]),
    "mapped": both({"source": ["host", "::ffff:10.1.0.0/120"]}, R.MAPPED),
    "mapped member": both(
        {"source": ["g"]}, R.MAPPED, words=[address("x", "::ffff:10.1.0.0/120"), group("g", "x")]
    ),
    "wildcard": Case(
        {},
        ((R.WILDCARD,),),
        words=[
            address("wild", "10.1.0.5/0.0.3.0", kind="ip-wildcard"),
            one("other", source=["wild"], action="deny"),
        ],
    ),
    "odd service": both({"service": ["odd"]}, R.SERVICE),
    "unknown app": both({"application": ["nobody-knows"], **BY_DEFAULT}, R.APP_UNKNOWN),
    "filter": both({"application": ["filter"], **BY_DEFAULT}, R.APP_FILTER, words=[APP_FILTER]),
    "app circle": both({"application": ["circle"], **BY_DEFAULT}, R.APP_OBJECT, words=[APP_GROUP]),
    "odd app": both({"application": ["odd-app"], **BY_DEFAULT}, R.APP_DYNAMIC, words=[APP_ODD]),
    "app of the table": Case(
        {"application": ["traceroute"], **BY_DEFAULT},
        ((R.APP_DYNAMIC,),),
        ((R.APP_DYNAMIC, R.APP_TABLE),),
    ),
    "two apps": both(
        {"application": ["any-app"], **BY_DEFAULT}, R.APP_OBJECT, words=[APP_ANY, APP_OTHER]
    ),
    "two filters": both(
        {"application": ["filter"], **BY_DEFAULT}, R.APP_OBJECT, words=[APP_FILTER, APP_FILTERED]
    ),
    "dynamic app": both({"application": ["any-app"], **BY_DEFAULT}, R.APP_DYNAMIC, words=[APP_ANY]),
    "app by ports": Case({**SSL, **BY_DEFAULT}, ((R.APP_PORTS,),), ((R.APP_TABLE,),)),
    "app, strict": Case(
        {**SSL, **BY_DEFAULT}, ((R.APP_STRICT,),), ((R.APP_TABLE,),), options=STRICT_OPTIONS
    ),
    "app on services": Case(
        {**SSL, "service": ["s"]},
        ((R.APP_SERVICES,),),
        ((R.APP_PORTS,),),
        words=[service("s", "444")],
    ),
    "app on some services": Case(
        {**SSL, "service": ["s"]},
        ((R.APP_SERVICES,), (R.APP_PORTS,)),
        ((R.APP_PORTS,),),
        words=[service("s", "443-444")],
    ),
    "app anywhere": Case(SSL, ((R.APP_SERVICES,), (R.APP_PORTS,)), ((R.APP_ANY_PORT,),)),
    "apps, ports accepted": Case(
        SSL, ((R.APP_SERVICES,), (R.APP_PORTS,)), ((R.ACCEPTED,),), options=PORTS
    ),
    "any app by default": both(BY_DEFAULT, R.APP_DEFAULT),
    "any app by default, strict": both(BY_DEFAULT, R.APP_DEFAULT, options=STRICT_OPTIONS),
    "elsewhere": both({}, R.NOT_TARGETED, extra=target(devices("3")), options=FIREWALLS),
    "on some": both({}, R.TARGET, extra=target(devices("1"))),
    "on one of two": both({}, R.TARGET_SOME, extra=target(devices("1")), options=FIREWALLS),
    "by tag": both({}, R.TARGET_TAGS, extra=target(members("tags", ["t"])), options=FIREWALLS),
    "by tag of whichever": both({}, R.TARGET, R.TARGET_TAGS, extra=target(members("tags", ["t"]))),
    "nowhere": both({"source": ["10.1.0.1"], "destination": ["2001:db8::1"]}, R.NO_ENDS),
    "what is left is nowhere": Case(
        {"source": ["10.1.0.1", "nobody"], "destination": ["2001:db8::1"]},
        ((R.MISSING,), (R.NO_ENDS,)),
        ((R.MISSING,),),
    ),
    "of none": Case({"source": ["none"]}, (), ((R.NO_MATCH,),), words=[group("none")]),
    "unknown networks": both({"to": ["far"]}, R.NETWORKS),
    "left out by filter": Case(
        {}, ((R.FILTER,),), ((R.ACCEPTED,),), options=RuleOptions(filter="k", filter_denies=True)
    ),
}


@pytest.mark.parametrize("action", ["allow", "deny"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_reason_has_the_remedy_of_its_kind(case: Case, action: str) -> None:
    allow = action == "allow"
    found = reported(
        *OBJECTS,
        HOST,
        one("it", case.extra, action=action, **case.fields),
        *case.words,
        told=case.told,
        registered_accepted=case.accepted,
        rules=case.options,
    ).rules[0]
    expected = case.allow if allow else case.deny
    assert tuple(each.removesuffix(LEAVING_OUT) for each in found.remedies) == tuple(
        remedy(kinds, about="zone far", rule="it", allow=allow) for kinds in expected
    ), found.reasons


def test_a_name_in_a_remedy_is_written_as_yaml_reads_it() -> None:
    for name in ("no", "10", "a: b", "it's", "plain name-1"):
        said = line(*OBJECTS, one(name, action="deny", source=["feed"])).remedies[0]
        (listed,) = re.findall(r"`rules\.accept_dropped_members: (\[.*\])`", said)
        assert yaml.safe_load(listed) == [name]


def test_what_a_remedy_says_to_accept_is_accepted() -> None:
    words = (*OBJECTS, one("no: 'feed'", action="deny", source=["feed"]))
    said = line(*words).remedies[0].removesuffix(LEAVING_OUT)
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


def test_a_list_of_no_addresses_is_called_what_it_is() -> None:
    domains = external_list("names", "https://x/", kind="domain")
    (reason,) = line(domains, one(source=["names"])).reasons
    assert reason.endswith("'names' is an external dynamic list of type domain")


def test_a_custom_region_is_its_addresses() -> None:
    region = Word("region", entry("home", members("address", ["10.1.2.0/24"])))
    assert line(region, one(source=["home"])).status is Status.EXACT


# --- rules without Calico rules -------------------------------------------------------------------


NOBODY: dict[str, Any] = {"source": ["10.1.0.1"], "destination": ["2001:db8::1"]}


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (one(), Status.EXACT),
        (one(disabled="yes"), Status.DISABLED),
        (one("it", target(devices("9"))), Status.NOT_TARGETED),
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
    to_do = (remedy([Reason.NO_ZONES]),)
    assert [each.remedies for each in found.rules] == [to_do, to_do, ()]
    assert found.device_groups[0].zones == 0
