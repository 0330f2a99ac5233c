"""The NAT rules of one scope that translate destinations, from its XML.

They allow and deny nothing: they show which security rules name addresses that no server has. So
what cannot be read of one counts as any destination, and nothing else of it is looked at.

Source of the elements and their defaults: the PAN-OS configuration schema
(`rulebase/nat/rules/entry`).
"""

from collections.abc import Sequence

from lxml.etree import _Element

from sync.firewall.parse.xml import Remarks, entries, members, text, yes
from sync.firewall.rules import ANY, NatRule

_TRANSLATIONS = ("destination-translation", "dynamic-destination-translation")


def read_nat_rules(scope: Sequence[_Element], where: str, remarks: Remarks) -> tuple[NatRule, ...]:
    """The rules that translate destinations and are not disabled, in order."""
    containers = (each for element in scope for each in element.iterfind(where))
    return tuple(
        NatRule(name, translated)
        for name, entry in entries(containers, remarks)
        if not _disabled(entry, remarks) and (translated := _translated(entry, remarks))
    )


def _disabled(entry: _Element, remarks: Remarks) -> bool:
    said = {yes(each) for each in entry.iterchildren("disabled")}
    if said - {False} and said != {True}:
        remarks.add(entry, "is neither disabled nor not; it is taken to be in use")
    return said == {True}


def _translated(entry: _Element, remarks: Remarks) -> tuple[str, ...]:
    """The destinations that a rule translates; none if it leaves them as they are."""
    found: list[str] = []
    if any(entry.find(tag) is not None for tag in _TRANSLATIONS):
        for each in entry.iterchildren("destination"):
            found += members(each, remarks) or ANY
        found = found or [*ANY]
    for static in entry.iterfind("source-translation/static-ip"):
        found += _in_reverse(static, remarks)
    return tuple(found)


def _in_reverse(static: _Element, remarks: Remarks) -> tuple[str, ...]:
    """The destinations that a source translation in both directions translates back."""
    both_ways = {yes(each) for each in static.iterchildren("bi-directional")}
    if both_ways <= {False}:
        return ()
    found = tuple(text(each) for each in static.iterchildren("translated-address"))
    if both_ways != {True} or not found or not all(found):
        remarks.add(static, "cannot be read; it is taken to translate every destination back")
        return ANY
    return found
