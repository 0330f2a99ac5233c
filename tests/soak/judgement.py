"""What a soak is judged by: the API servers' audit logs against the trail, and memory."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

RECORD = "zonebridge.io/record"
GROUP = "projectcalico.org"
VERBS = ("create", "update", "delete")

MEMORY_FACTOR, MEMORY_KB = 1.10, 8 * 1024
"""A process's memory is flat where the last quarter's median is within this of the second's."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write of ours that an API server was asked for; `record` is what the object then names.

    `done`: it answered with success. Where it answered with an error of its own (5xx), as to a
    connection that was cut meanwhile, the write may be done none the less.
    """

    verb: str
    name: str
    record: str
    done: bool = True


def writes(events: Iterable[Mapping[str, Any]]) -> list[Write]:
    """The writes of Calico's objects that are or may be done, of an API server's audit events."""
    found = []
    for event in events:
        asked = event.get("objectRef", {})
        code = event.get("responseStatus", {}).get("code", 0)
        done = 200 <= code < 300
        if event["verb"] not in VERBS or asked.get("apiGroup") != GROUP or 300 <= code < 500:
            continue
        if event["stage"] != "ResponseComplete" or "dryRun" in event["requestURI"]:
            continue
        metadata = event.get("requestObject", {}).get("metadata", {})
        name = asked.get("name") or metadata.get("name", "")
        record = (metadata.get("annotations") or {}).get(RECORD, "")
        found.append(Write(event["verb"], name, "" if event["verb"] == "delete" else record, done))
    return found


def disagreements(
    chain: str,
    written: Sequence[Write],
    records: Sequence[Mapping[str, Any]],
    removed: Mapping[str, int],
) -> list[str]:
    """Where a cluster's trail and what its API server did are not the same.

    `removed`: how often another hand deleted an object, by name.
    """
    own = [each for each in records if each["chain"] == chain]
    intents = {each["sequence"]: each for each in own if each["kind"] == "intent"}
    ends: defaultdict[int, list[str]] = defaultdict(list)
    for each in own:
        if each["kind"] == "recovered":
            ends[each["intent"]].append("recovered")
        elif each["kind"] == "outcome" and each["outcome"] != "unknown":
            ends[each["intent"]].append(each["outcome"])
    named = {f"{chain} {number}:{each['hash']}": each for number, each in intents.items()}
    times = Counter(each.record for each in written if each.verb != "delete" and each.done)
    perhaps = {each.record for each in written if each.verb != "delete" and not each.done}
    found = [
        f"{chain}:{number} {each['object_name']}: {len(ends[number])} ends {ends[number]}"
        for number, each in intents.items()
        if len(ends[number]) != 1
    ]
    for write in written:
        if write.verb == "delete":
            continue
        intent = named.get(write.record)
        if intent is None:
            found.append(
                f"{chain}: {write.verb} of {write.name} without a record: {write.record!r}"
            )
        elif (intent["action"], intent["object_name"]) != (write.verb, write.name):
            found.append(f"{chain}: {write.verb} of {write.name} names another's: {write.record}")
    found += [f"{chain}: done {n} times: {record}" for record, n in times.items() if n > 1]
    for record, intent in named.items():
        if intent["action"] == "delete":
            continue
        ended = ends[intent["sequence"]]
        if "applied" in ended and not times[record] and record not in perhaps:
            found.append(f"{chain}: applied by the trail alone: {record}")
        if times[record] and ("failed" in ended or "not-applied" in ended):
            found.append(f"{chain}: {ended} by the trail, and done: {record}")
    return found + _deletions(chain, written, intents, ends, removed)


def _deletions(
    chain: str,
    written: Sequence[Write],
    intents: Mapping[int, Mapping[str, Any]],
    ends: Mapping[int, Sequence[str]],
    removed: Mapping[str, int],
) -> list[str]:
    """A deletion leaves no object to name its record, so they are counted by name."""
    done = Counter(each.name for each in written if each.verb == "delete" and each.done)
    perhaps = Counter(each.name for each in written if each.verb == "delete" and not each.done)
    at_least: Counter[str] = Counter()
    at_most: Counter[str] = Counter()
    for number, each in intents.items():
        if each["action"] == "delete":
            at_least[each["object_name"]] += "applied" in ends[number]
            at_most[each["object_name"]] += bool({"applied", "recovered"} & {*ends[number]})
    return [
        f"{chain}: {done[name]} deletions of {name}, the trail has {at_least[name]} to "
        f"{at_most[name]}, another hand did {removed.get(name, 0)}"
        for name in sorted({*done, *at_least})
        if done[name] > at_most[name]
        or done[name] + perhaps[name] < at_least[name] - removed.get(name, 0)
    ]


def quarters(samples: Sequence[int]) -> tuple[float, float]:
    """The medians of the second and of the last quarter."""
    quarter = len(samples) // 4
    return median(samples[quarter : 2 * quarter]), median(samples[-quarter:])


def grows(samples: Sequence[int]) -> bool:
    """Whether memory, in kB, is not flat; what comes before the second quarter is warming up."""
    second, last = quarters(samples)
    return last > second * MEMORY_FACTOR + MEMORY_KB
