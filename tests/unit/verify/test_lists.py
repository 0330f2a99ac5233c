"""Two lists for the same pods, and the flows that they decide differently."""

from typing import Literal

import pytest

from sync.firewall.services import TCP, Traffic
from sync.net.addresses import EVERYWHERE, network
from sync.net.ports import ports
from sync.options import ZoneOptions
from sync.verify.compare import Pods, RuleLists
from sync.verify.packet_space import Ends, Entry
from sync.verify.profiles import Profiles

KNOWN = Profiles({"web"}, ZoneOptions())
EVERYONE: Ends = ((KNOWN.everyone, EVERYWHERE),)
ALL = Entry(EVERYWHERE, EVERYONE, (Traffic(),), "deny", "all")


def of(action: Literal["allow", "deny"], port: str, rule: str, where: str = "") -> Entry:
    return Entry(EVERYWHERE, EVERYONE, (Traffic(TCP, ports(port)),), action, rule, where)


def lists(wanted: list[Entry], said: list[Entry]) -> RuleLists:
    return RuleLists("a pod", "egress", wanted, said, KNOWN, Pods(KNOWN, None))


def test_what_an_earlier_rule_of_either_list_decides_is_no_difference() -> None:
    wanted = [of("allow", "80", "anchor"), of("deny", "22", "ssh"), ALL]
    said = [
        of("deny", "22", "other"),
        of("allow", "80", "anchor"),
        of("allow", "22", "dead"),
        ALL,
    ]
    assert lists(wanted, said).differences() == ([], "")


def test_a_difference_is_one_flow_with_the_rules_that_decide_it() -> None:
    wanted = [of("allow", "80-90", "web"), ALL]
    said = [of("allow", "80-91", "web", "fw.web[egress 0]"), ALL]
    (found,), because = lists(wanted, said).differences()
    assert because == ""
    assert (found.firewall, found.rule, found.calico, found.says) == ("deny", "all", "allow", "web")
    assert found.where == "fw.web[egress 0]"
    assert (found.flow.packet.protocol, found.flow.packet.port) == (TCP, 91)
    assert found.flow.local_address != found.flow.far_address


def test_many_differences_of_one_kind_hide_none_of_the_other() -> None:
    wanted = [of("allow", str(port), f"rule {port}") for port in range(1, 40)]
    said = [of("allow", "50", "more", "fw.web[egress 0]")]
    found, _ = lists([*wanted, ALL], [*said, ALL]).differences()
    assert sum(each.calico == "deny" for each in found) == 20
    assert [each.says for each in found if each.calico == "allow"] == ["more"]


def test_nothing_stands_between_an_address_and_itself() -> None:
    one = network("10.0.0.1/32")
    apart = ALL._replace(local=one, far=((KNOWN.zones["web"], one),), action="allow", rule="self")
    assert lists([apart, ALL], [ALL]).differences() == ([], "")


def test_lists_too_unlike_each_other_are_not_compared_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sync.verify.compare.LOOKS", 10_000)
    nets = [network(f"10.{number}.0.0/16") for number in range(50)]
    wanted = [ALL._replace(local=net, rule=f"w{at}", action="allow") for at, net in enumerate(nets)]
    said = [ALL._replace(far=((KNOWN.everyone, net),), rule=f"s{at}", action="allow")
            for at, net in enumerate(nets)]  # fmt: skip
    _, because = lists([*wanted, ALL], [*said, ALL]).differences()
    assert "more than 10,000 looks" in because
