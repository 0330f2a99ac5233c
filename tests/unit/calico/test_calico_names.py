"""Names from the firewall, in Kubernetes."""

import pytest

from sync.calico import names

LONG = "a" * 64


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("Untrust Zone", "untrust-zone-220c5f21"),
        ("", "x-e3b0c442"),
        ("***", "x-596f4162"),
        ("Ünïcode", "n-code-00b24be8"),
    ],
)
def test_the_mapping_is_a_readable_part_and_eight_hex_digits_of_the_original(
    original: str, expected: str
) -> None:
    assert names.mapped(original) == expected


def test_a_mapped_name_is_cut_to_fit_a_dns_label() -> None:
    cut = names.mapped("A" * 300)
    assert len(cut) == 63
    assert names.is_dns_label(cut)


def test_no_hyphen_is_left_where_the_readable_part_is_cut() -> None:
    assert names.mapped("a" * 53 + " b").startswith("a" * 53 + "-")
    assert "--" not in names.mapped("a" * 53 + " b")


@pytest.mark.parametrize("group", ["web", "web.prod", "web-1.eu-west", "a" * 63 + "." + "b" * 63])
def test_a_group_whose_name_is_a_subdomain_keeps_it(group: str) -> None:
    assert names.set_name(group) == f"pan.{group}"


@pytest.mark.parametrize(
    "group",
    [
        "Web",
        "web_prod",
        "web.",
        ".web",
        "-web",
        "web..prod",
        "",
        "web\n",
        LONG,
        "web-0123abcd",
        "web-0123ABCD",
        ".".join(["a" * 46] * 5),
    ],
)
def test_any_other_group_is_mapped(group: str) -> None:
    assert names.set_name(group) == f"pan.{names.mapped(group)}"


def test_a_kept_name_leaves_room_for_a_file_name_and_a_temporary_prefix() -> None:
    longest = ".".join(["a" * 45] * 5)
    assert len(longest) == 229
    assert names.set_name(longest) == f"pan.{longest}"
    assert len(f"{names.set_name(longest)}.yaml") <= 255 - len(".zonebridge-12")


@pytest.mark.parametrize("original", ["web", "Web_1.x", "A", "a" * 63])
def test_a_valid_label_value_stays(original: str) -> None:
    assert names.label_value(original) == original


@pytest.mark.parametrize("original", ["", "Untrust Zone", "-web", "web_", LONG, "Web-0123ABCD"])
def test_any_other_label_value_is_mapped(original: str) -> None:
    assert names.label_value(original) == names.mapped(original)


@pytest.mark.parametrize("tag", ["zone", "address-group", "list", "edl"])
def test_a_tag_never_takes_a_label_of_ours(tag: str) -> None:
    assert names.label_key_name(tag) == names.mapped(tag)


def test_a_configured_zone_label_is_reserved_too() -> None:
    assert names.label_key_name("segment") == "segment"
    assert names.label_key_name("segment", names.RESERVED_KEY_NAMES | {"segment"}) == names.mapped(
        "segment"
    )


def test_a_policy_name_holds_one_dot_so_a_dotted_zone_is_mapped() -> None:
    assert names.policy_name("firewallpolicy", "web") == "firewallpolicy.pan-zone-web"
    dotted = names.policy_name("firewallpolicy", "web.prod")
    assert dotted == f"firewallpolicy.pan-zone-{names.mapped('web.prod')}"
    assert dotted.count(".") == 1


def test_the_names_of_parts_and_of_policies_without_a_zone() -> None:
    web = names.mapped("web")
    assert names.policy_part_name("fw", "web", "a", 2) == f"fw.pan-part-{web}-a2"
    assert names.policy_part_name("fw", "web", "b", 1) == f"fw.pan-part-{web}-b1"
    assert names.set_part_name("web", 2) == f"pan-part.{web}.2"
    assert names.edl_name("Bad IPs") == f"pan-edl.{names.mapped('Bad IPs')}"
    assert names.essentials_name("fw") == "fw.pan-essentials"
    assert names.essentials_name("fw", 2) == "fw.pan-essentials-2"
    assert names.elsewhere_name("fw", 1) == "fw.pan-elsewhere-1"
    assert names.unknown_zone_name("fw") == "fw.pan-unknown-zone"


def test_a_list_is_named_by_its_nets() -> None:
    assert names.list_name(["10.0.0.0/8"]) == "pan-list.93997fe8a8121085"
    assert names.list_name(["10.0.0.0/8"]) != names.list_name(["10.0.0.0/9"])


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("app", True),
        ("firewall.tigera.io/zone", True),
        ("a/b/c", False),
        ("/zone", False),
        ("zone/", False),
        ("", False),
        ("Prefix.io/zone", False),
        (f"firewall.tigera.io/{LONG}", False),
    ],
)
def test_a_label_key_is_a_name_with_an_optional_subdomain(key: str, *, valid: bool) -> None:
    assert names.is_qualified_name(key) is valid
