"""The pods of several zones together are exactly those of each."""

from hypothesis import given
from hypothesis import strategies as st

from sync.options import ZoneDefinition, ZoneOptions
from sync.translate.zones import Workloads
from tests.naive.calico_verdict import selector

ZONES = ["app", "db", "dmz", "guest", "web"]
KEYS = ["a", "b", "c"]
VALUES = ["1", "2"]
LABEL = "firewall.tigera.io/zone"

terms = st.one_of(
    st.builds("{} == '{}'".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds("has({})".format, st.sampled_from(KEYS)),
)
definitions = st.builds(
    ZoneDefinition,
    st.builds("{} || {}".format, terms, terms),
    st.one_of(st.none(), terms),
)
pods = st.dictionaries(
    st.sampled_from([*KEYS, *(f"pcns.{key}" for key in KEYS)]), st.sampled_from(VALUES)
)


@given(
    st.lists(st.tuples(st.sampled_from(ZONES), definitions), unique_by=lambda each: each[0]),
    st.sets(st.sampled_from(ZONES), min_size=1),
    st.integers(20, 1024),
    st.lists(st.tuples(pods, st.sampled_from(["", *ZONES])), min_size=1),
)
def test_the_pods_of_several_zones_are_those_of_each(
    defined: list[tuple[str, ZoneDefinition]],
    chosen: set[str],
    room: int,
    some_pods: list[tuple[dict[str, str], str]],
) -> None:
    workloads = Workloads(ZoneOptions(definitions=dict(defined)))
    each = [selector(workloads.pods(zone)) for zone in chosen]
    together = workloads.in_any(chosen, room)
    for labels, zone in some_pods:
        pod = {**labels, **({LABEL: zone} if zone else {})}
        expected = any(test(pod) for test in each)
        assert any(selector(text)(pod) for text in together) == expected
    if room > 400:  # enough for each zone alone
        assert all(len(text) <= room for text in together)
