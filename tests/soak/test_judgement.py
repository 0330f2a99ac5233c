"""What a soak is judged by finds what is wrong: each fault, planted, is told."""

from typing import Any

import pytest

from tests.soak.judgement import Write, disagreements, grows, writes
from tests.soak.schedule import SLOTS, schedule

CREATED, UPDATED = "eu 1:aa", "eu 2:bb"
WRITTEN = [
    Write("create", "pan.web", CREATED),
    Write("update", "pan.web", UPDATED),
    Write("delete", "pan.web", ""),
]


def intent(number: int, action: str, digest: str) -> dict[str, Any]:
    return {
        "chain": "eu",
        "sequence": number,
        "kind": "intent",
        "action": action,
        "object_name": "pan.web",
        "hash": digest,
    }


def end(number: int, outcome: str = "applied") -> dict[str, Any]:
    return {
        "chain": "eu",
        "sequence": number + 10,
        "kind": "recovered" if outcome == "recovered" else "outcome",
        "outcome": outcome,
        "intent": number,
    }


INTENTS = [intent(1, "create", "aa"), intent(2, "update", "bb"), intent(3, "delete", "cc")]
ENDS = [end(1), end(2), end(3)]


def found(written: list[Write], records: list[dict[str, Any]], removed: int = 0) -> str:
    return "\n".join(disagreements("eu", written, records, {"pan.web": removed}))


def test_a_trail_and_an_api_server_that_agree_are_found_right() -> None:
    assert found(WRITTEN, [*INTENTS, *ENDS]) == ""
    # A timeout that was read back, and a killed process that never came to write.
    assert found(WRITTEN, [*INTENTS, end(1, "unknown"), *ENDS]) == ""
    assert found(WRITTEN[:2], [*INTENTS, end(1), end(2), end(3, "recovered")]) == ""
    # The API server told a connection that was cut of an error, and the write was done.
    hidden = [Write(each.verb, each.name, each.record, done=False) for each in WRITTEN]
    assert found(hidden, [*INTENTS, *ENDS]) == ""
    assert found(hidden, [*INTENTS, end(1, "failed"), end(2, "failed"), end(3, "failed")]) == ""
    # Another hand deleted it first.
    assert found(WRITTEN[:2], [*INTENTS, *ENDS], removed=1) == ""


@pytest.mark.parametrize(
    ("written", "records", "told"),
    [
        pytest.param(WRITTEN, [*INTENTS[1:], *ENDS[1:]], "without a record", id="record lost"),
        pytest.param(
            [*WRITTEN, Write("update", "pan.web", "")],
            [*INTENTS, *ENDS],
            "without a record",
            id="no record named",
        ),
        pytest.param([*WRITTEN, WRITTEN[1]], [*INTENTS, *ENDS], "done 2 times", id="doubled"),
        pytest.param(
            [WRITTEN[0], *WRITTEN[2:]], [*INTENTS, *ENDS], "by the trail alone", id="write lost"
        ),
        pytest.param(
            [Write("create", "pan.db", CREATED), *WRITTEN[1:]],
            [*INTENTS, *ENDS],
            "names another's",
            id="another's record",
        ),
        pytest.param(WRITTEN, [*INTENTS, *ENDS[1:]], "0 ends", id="open"),
        pytest.param(WRITTEN, [*INTENTS, *ENDS, end(1)], "2 ends", id="ended twice"),
        pytest.param(
            WRITTEN, [*INTENTS, end(1), end(2, "failed"), end(3)], "and done", id="untrue"
        ),
        pytest.param([*WRITTEN, WRITTEN[2]], [*INTENTS, *ENDS], "2 deletions", id="deleted twice"),
        pytest.param(WRITTEN[:2], [*INTENTS, *ENDS], "0 deletions", id="deletion lost"),
    ],
)
def test_each_fault_is_told(written: list[Write], records: list[dict[str, Any]], told: str) -> None:
    assert told in found(written, records)


def test_only_writes_that_were_or_may_be_done_count() -> None:
    event = {
        "stage": "ResponseComplete",
        "verb": "create",
        "requestURI": "/apis/projectcalico.org/v3/globalnetworksets",
        "objectRef": {"apiGroup": "projectcalico.org", "resource": "globalnetworksets"},
        "requestObject": {
            "metadata": {"name": "pan.web", "annotations": {"zonebridge.io/record": CREATED}}
        },
        "responseStatus": {"code": 201},
    }
    others = [
        event | {"verb": "get"},
        event | {"responseStatus": {"code": 409}},
        event | {"requestURI": f"{event['requestURI']}?dryRun=All"},
        event | {"objectRef": {"apiGroup": "events.k8s.io", "resource": "events"}},
    ]
    cut = event | {"responseStatus": {"code": 504}}
    maybe = Write("create", "pan.web", CREATED, done=False)
    assert writes([event, *others, cut]) == [WRITTEN[0], maybe]


def test_memory_that_grows_is_told_and_warming_up_is_not() -> None:
    flat = [100_000 + number % 7 * 100 for number in range(100)]
    assert not grows(flat)
    assert not grows([number * 4_000 for number in range(25)] + flat)
    assert grows([100_000 + number * 1_000 for number in range(100)])


def test_a_seed_decides_what_befalls_and_the_last_replica_is_never_ended() -> None:
    assert schedule(1, 600) == schedule(1, 600)
    assert schedule(1, 600) != schedule(2, 600)
    ended = {each.where for each in schedule(1, 6000) if each.what in ("kill", "terminate")}
    assert ended == {str(slot) for slot in range(SLOTS - 1)}
