"""The page of a report: whole, self-contained, and nothing in it is HTML but the page."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from sync.render.page import Sheet, html
from sync.translate.fidelity import GroupFidelity, Report, Status
from tests.pages import EVIL, ZONES, matrix, rule, sheet

_VOID = ("meta", "input")


class _Page(HTMLParser):
    """The elements of a page: each must be closed, and no text may come as one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.setdefault(self.open[-1] if self.open else "", []).append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.said["script"][0])


def _hostile(text: str) -> Sheet:
    made = sheet([replace(rule(1, text), target=text, calico=(text,), nat=(text,))], cluster=text)
    report = replace(made.report, groups=(GroupFidelity(text, Status.NARROWED, (text,)),))
    origins = tuple(
        replace(each, source=text, version=text, administrators=(text,), description=text)
        for each in made.origins
    )
    return Sheet(report, origins, (matrix((text, "web")),))


def test_nothing_in_the_page_is_html_but_the_page() -> None:
    page, tame = _Page(html([_hostile(EVIL)])), _Page(html([_hostile("tame")]))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in tame.elements]
    assert page.data["clusters"][0]["rules"][0]["name"] == EVIL.replace("\u202e", "\\u202e")
    assert page.said["script"][0].count("<") == 0


def test_no_name_reaches_the_page_as_a_command_or_out_of_order() -> None:
    page = html([_hostile("a\x1b[2J\n\u202eEVIL\u2028")])
    assert not {"\x1b", "\u202e", "\u2028"} & set(page)
    assert not any(line.startswith("EVIL") for line in page.splitlines())


def test_the_page_runs_and_shows_only_what_it_holds() -> None:
    page = _Page(html([sheet([rule(0)])]))
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ")
    for kind, text in (("style", page.said["style"][0]), ("script", page.said["script"][-1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not {"link", "img", "iframe"} & {tag for tag, _ in page.elements}
    loading = {"src", "href", "style", "onclick", "onload"}
    assert [
        attributes for _, attributes in page.elements if loading & set(attributes)
    ] == [{"class": "skip", "href": "#main"}]  # fmt: skip
    assert "url(" not in "".join(page.said["style"])


def test_a_rule_has_the_columns_of_the_firewall() -> None:
    page = _Page(html([sheet([rule(7)])]))
    (found,) = page.data["clusters"][0]["rules"]
    assert found == {
        "target": "main/datacenter",
        "place": "shared pre 8",
        "name": "rule-00007",
        "status": "not-targeted",
        "action": "allow",
        "from": ["untrust"],
        "to": ["web"],
        "source": ["10.7.0.0/16", "web-servers"],
        "destination": ["not database-servers"],
        "service": ["application-default", "web-browsing", "ssl"],
        "tags": ["kubernetes", "production"],
        "why": ["its source is an external dynamic list"],
        "remedy": ["set `edl: fetch`"],
        "calico": "firewallpolicy.pan-zone-web[egress 7]",
    }
    anything = replace(rule(1), rule=None)
    assert _Page(html([sheet([anything])])).data["clusters"][0]["rules"][0]["service"] == [
        "any application-default"
    ]


def test_many_calico_rules_are_counted_unless_asked_for() -> None:
    calico = tuple(f"fw.pan-zone-{zone}[egress {place}]" for zone in "ab" for place in (0, 1))
    many = [sheet([replace(rule(1), calico=calico)])]
    assert "4 rules in 2 policies" in html(many)
    assert ", ".join(calico) in html(many, verbose=True)


def test_the_header_says_what_the_report_is_made_from() -> None:
    said = re.sub(r"<[^>]+>", "", html([sheet([])], made="2026-11-30 12:00 UTC"))
    for text in ("main", "4711", "alice", "tidy up", "2026-11-30 12:00 UTC", "ENFORCED"):
        assert text in said
    assert re.search(r"Committed by\s*alice", said)
    staged = html([sheet([], mode="staged")])
    assert "staged: only watched" in staged
    assert "ENFORCED" not in staged


def test_a_matrix_has_a_button_for_each_pair_with_both_states_in_words() -> None:
    page = _Page(html([sheet([])]))
    labels = [each["aria-label"] for tag, each in page.elements if "data-from" in each]
    assert len(labels) == len(ZONES) ** 2
    assert labels[1] == "db to untrust: firewall some, Calico some, different"
    assert labels[4] == "untrust to untrust: firewall all, Calico all"
    marked = [each["class"] for _, each in page.elements if "data-from" in each]
    assert (marked[1], marked[4]) == ("cell unlike", "cell")
    large = replace(matrix(), cells=(), because="it has more than 100 zones")
    said = html([replace(sheet([]), matrices=(large,))])
    assert "Unknown: it has more than 100 zones." in said


def test_every_status_can_be_chosen_and_is_explained() -> None:
    page = html([Sheet(Report("prod", (), (), (), ()))])
    for status in Status:
        assert f"<option>{status}</option>" in page
        assert f'<span class="badge {status}">{status}</span>' in page


def test_a_cluster_without_a_report_is_named_with_its_error() -> None:
    shown = html([sheet([])], failed={"<b>eu": "the source of </script> is gone"})
    assert "<b>eu" not in shown
    said = re.sub(r"<[^>]+>", "", shown)
    assert "Cluster &lt;b&gt;eu" in said
    assert "Failed: the source of &lt;/script&gt; is gone" in said
