"""However many names there are, no line that people read is of any length."""

from collections.abc import Callable

import pytest

from sync.cli.unconfigured import sentences
from sync.errors import SourceError
from sync.firewall.effective import effective
from sync.firewall.runtime import Registrations
from sync.firewall.tag_filter import parse
from sync.plan.origin import Origin
from sync.plan.plan import Plan
from sync.render.markdown import markdown
from sync.render.plan import text
from sync.settings.problems import did_you_mean
from tests.words import document, read

NAMES = tuple(f"name-{number}" for number in range(5000))
BOUND = 15_000  # characters; all of the names have 50,000


def by_many() -> Plan:
    origin = Origin("main", "412", NAMES, "")
    return Plan("prod", (origin,), (), (), (), (), (), unchanged=4, compared_with=(origin,))


def not_there() -> str:
    with pytest.raises(SourceError) as caught:
        effective(read(document((), dict.fromkeys(NAMES, ()))), "another")
    return str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        lambda: text(by_many()),
        lambda: markdown(by_many()),
        not_there,
        lambda: did_you_mean("another", NAMES),
        lambda: "\n".join(Registrations((), NAMES).held(parse("'x'")).because),
    ],
    ids=["plan", "markdown", "device groups", "known", "firewalls"],
)
def test_of_thousands_of_names_a_line_has_some_and_says_so(said: Callable[[], str]) -> None:
    lines = said().splitlines()
    assert max(map(len, lines)) < BOUND
    assert any("and more" in line for line in lines)


def test_a_cluster_that_another_process_still_keeps_is_told_so() -> None:
    found = {"name": "us", "uid": None, "objects": 3, "open_intents": 0, "holder": None}
    [nobody] = sentences([found])
    assert "no process updates or removes them" in nobody
    assert "`zonebridge sync --cluster us`" in nobody
    assert nobody.endswith("run `zonebridge forget us`")
    [kept] = sentences([{**found, "holder": "zonebridge run by pod-1"}])
    assert "zonebridge run by pod-1 still syncs it by an older configuration" in kept
    assert "nobody" not in kept
