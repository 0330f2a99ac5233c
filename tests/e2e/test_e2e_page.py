"""The page of a report as a firewall engineer meets it in a browser."""

from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from sync.render.page import Sheet, html
from sync.translate.fidelity import Extent, Shadow, Taker
from tests.chromium import Opened
from tests.pages import EVIL, LONG, LOST, matrix, rule, sheet

WIDTHS = (400, 1280, 2000)
FEW = [sheet([rule(number) for number in range(27)])]


def rows(page: Page) -> list[str]:
    """The names of the rules that are shown."""
    found: list[str] = page.eval_on_selector_all(
        ".rules tbody tr",
        "rows => rows.map(row => row.querySelector('.name-cell bdi').textContent)",
    )
    return found


def waited(page: Page, text: str) -> None:
    """Wait for what is said of the rules that were found."""
    page.locator(".found", has_text=text).first.wait_for()


def test_rules_are_searched_and_filtered(opened: Opened) -> None:
    page = opened(html(FEW))
    assert len(rows(page)) == 27
    page.keyboard.press("/")
    page.keyboard.type("Rule-0000 web-browsing")
    waited(page, "10 of 27 rules")
    assert rows(page) == [f"rule-{number:05}" for number in range(10)]
    page.select_option("#status", "exact")
    waited(page, "2 of 27 rules")
    assert rows(page) == ["rule-00000", "rule-00009"]
    shown = page.eval_on_selector_all(
        "tr[data-status]", "rows => rows.filter(row => !row.hidden).map(row => row.dataset.status)"
    )
    assert shown == []  # no address group has such a name
    page.click("text=Clear")
    waited(page, "27 rules")
    page.select_option("#from", "web")
    page.select_option("#action", "deny")
    assert rows(page) == []
    page.select_option("#action", "allow")
    page.select_option("#to", "db")
    # A rule to any zone is for this one too.
    assert rows(page) == [f"rule-{number:05}" for number in (2, 5, 8, 11, 14, 17, 20, 23, 26)]


def test_a_column_is_sorted_both_ways_and_back(opened: Opened) -> None:
    page = opened(html(FEW))
    head = page.locator("th", has=page.locator("[data-sort=status]"))
    in_order = rows(page)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    badges = page.eval_on_selector_all(".rules td .badge", "all => all.map(one => one.textContent)")
    assert badges == sorted(badges)
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert rows(page)[0] == "rule-00020"  # widened, and the last of these
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    assert rows(page) == in_order


def test_a_cell_opens_to_the_services_and_the_rules_that_decide(opened: Opened) -> None:
    page = opened(html(FEW))
    cell = page.get_by_role("button", name="web to db: firewall some, Calico some, different")
    cell.focus()
    page.keyboard.press("Enter")
    assert cell.get_attribute("aria-expanded") == "true"
    panel = page.get_by_role("region", name="The chosen cell")
    said = panel.inner_text()
    for text in (
        "web → db",
        f"Calico denies some flows that the firewall may allow, such as {LOST}.",
        "tcp/5432",
        "Perhaps: depends on what Calico cannot see",
        "allow web-to-db (shared pre 7)",
        "firewallpolicy.pan-zone-db[ingress 4]",
    ):
        assert text in said
    page.keyboard.press("Enter")
    assert cell.get_attribute("aria-expanded") == "false"
    assert not panel.is_visible()


def background(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


def test_colours_are_the_systems_or_chosen(opened: Opened) -> None:
    dark = opened(html(FEW), color_scheme="dark")
    assert background(dark) == "rgb(13, 17, 23)"
    dark.select_option("#theme", "light")
    assert background(dark) == "rgb(255, 255, 255)"
    light = opened(html(FEW))
    assert background(light) == "rgb(255, 255, 255)"
    light.select_option("#theme", "dark")
    assert background(light) == "rgb(13, 17, 23)"


CONTRAST = """() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = new Set();
  for (const one of document.querySelectorAll("body *")) {
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    if (/SCRIPT|STYLE|OPTION|NOSCRIPT/.test(one.tagName) || one.disabled) continue;
    const [text, page] = [light(getComputedStyle(one).color), light(behind(one))];
    const ratio = (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
    if (ratio < 4.5) poor.add(`${one.tagName}.${one.className}: ${ratio.toFixed(2)}`);
  }
  return [...poor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_what_is_behind_it(opened: Opened, scheme: str) -> None:
    page = opened(html(FEW), color_scheme=scheme)
    page.locator("button.cell.unlike").first.click()
    assert page.evaluate(CONTRAST) == []


def test_everything_that_is_asked_for_has_a_name(opened: Opened) -> None:
    page = opened(html(FEW))
    assert (
        page.eval_on_selector_all(
            "input, select",
            "all => all.filter(one => !one.labels.length).map(one => one.outerHTML)",
        )
        == []
    )
    assert (
        page.eval_on_selector_all(
            "button",
            "all => all.filter(one => !one.textContent.trim()).map(one => one.outerHTML)",
        )
        == []
    )
    table = page.locator(".rules").get_by_role("table")
    assert table.get_by_role("columnheader").count() == 9  # the others are words in each row
    assert table.get_by_role("row").count() == 28


def test_paper_has_every_rule_that_was_found_and_no_controls(opened: Opened) -> None:
    page = opened(html([sheet([rule(number) for number in range(250)])]), color_scheme="dark")
    assert len(rows(page)) == 100
    page.emulate_media(media="print")
    expect(page.locator(".rules tbody tr")).to_have_count(250)
    assert not page.locator("form.controls").is_visible()
    assert not page.locator(".pages").is_visible()
    assert background(page) == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    expect(page.locator(".rules tbody tr")).to_have_count(100)


def test_ten_thousand_rules_are_shown_a_page_at_a_time(opened: Opened) -> None:
    page = opened(html([sheet([rule(number) for number in range(10_000)])]))
    waited(page, "10,000 rules")
    assert len(rows(page)) == 100
    # What is drawn does not grow with the rules.
    assert page.evaluate("document.querySelectorAll('*').length") < 10_000
    page.get_by_role("button", name="Next").click()
    assert rows(page)[0] == "rule-00100"
    page.fill("#search", "rule-09999")
    waited(page, "1 of 10,000 rules")
    assert rows(page) == ["rule-09999"]
    assert not page.locator(".pages").is_visible()


BROKEN = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (/SCRIPT|STYLE|OPTION|NOSCRIPT/.test(node.parentElement.tagName)) continue;
    if (node.parentElement.closest(".cells thead")) continue;
    for (const word of node.data.matchAll(/[A-Za-z0-9]{2,24}/g)) {
      if (/[A-Za-z0-9]{25,}/.test(node.data)) continue;
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""

WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((one) => !one.closest(".scroll, .skip") && one.getClientRects().length)
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => `${one.tagName}.${one.className}`)"""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_is_cut_and_none_runs_out_of_the_page(opened: Opened, width: int) -> None:
    names = ("", EVIL, LONG, "kurz", "שלום-עולם", "internet-to-database-servers.example.org")
    rules = [rule(number, names[number % len(names)]) for number in range(27)]
    rules[3] = replace(rules[3], reasons=(LONG, EVIL), remedies=(LONG, ""), calico=(f"{LONG}[0]",))
    one = sheet(rules, cluster="production-europe")
    other = Sheet(replace(one.report, cluster=LONG), one.origins, (matrix((*"ab", LONG, EVIL)),))
    page = opened(html([one, other], made="2026-11-30 12:00 UTC"), width)
    for cell in page.locator("button.cell.unlike").all()[:8:7]:
        cell.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDE) == []
    assert page.evaluate(BROKEN) == []
    assert page.title() == "What became of the firewall's rules"


def test_names_that_differ_in_spaces_alone_are_two(opened: Opened) -> None:
    names = ("a b", "a  b")
    rules = [rule(number, name) for number, name in enumerate(names)]
    rules = [
        replace(each, rule=each.rule and replace(each.rule, from_zones=(name,)))
        for each, name in zip(rules, names, strict=True)
    ]
    page = opened(html([sheet(rules)]))
    # What is drawn, not what the document has.
    shown = page.locator(".rules .name-cell bdi:first-child")
    assert [each.inner_text() for each in shown.all()] == [*names]
    widths = page.evaluate(
        """() => [...document.querySelectorAll(".rules .name-cell bdi:first-child")].map((one) => {
          const range = document.createRange();
          range.selectNodeContents(one);
          return range.getBoundingClientRect().width;
        })"""
    )
    assert widths[0] < widths[1]
    page.select_option("#from", "a  b")
    assert rows(page) == ["a  b"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_name_as_long_as_a_page_is_folded_until_someone_asks(opened: Opened, width: int) -> None:
    name = "x" + "-long-name" * 500
    hidden = replace(rule(1, name), shadow=Shadow(Extent.WHOLE, (Taker(name, None, allow=False),)))
    one = sheet([hidden, rule(2)], cluster=name)
    page = opened(html([one]), width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDE) == []
    headlines = page.locator(".headlines").bounding_box()
    assert headlines
    assert headlines["height"] < 250
    row = page.locator(".rules tbody tr").first
    cell = row.locator(".name-cell")
    assert cell.locator("bdi").first.inner_text() == name[:299]
    cell.get_by_role("button", name="… all 5,001 letters").press("Enter")
    assert cell.locator("bdi").first.inner_text() == name
    assert page.evaluate("document.documentElement.scrollWidth") <= width
