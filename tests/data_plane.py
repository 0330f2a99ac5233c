"""The kernel sets that Felix would make of written objects, loaded into a real kernel.

A pytest plugin: `data_plane` (one a session and worker) loads sets in a network namespace of its
own. Where that cannot be done the tests that ask for it are skipped; in CI they fail.

Read from projectcalico/calico:
- `felix/calc/rule_scanner.go`: each distinct selector of rules is one IP set, whichever rules and
  policies have it; `felix/labelindex/named_port_index.go`: it has the nets of every network set
  with matching labels, each text once. A net of length 0 becomes two of length 1 there, for
  hash:net takes none; here nets are loaded as they were written, which is stricter.
- `felix/nftables/ipsets.go` (NFTablesSet, tryUpdates, tryResync): in the tables `ip calico` and
  `ip6 calico`, a set of nets with the flag interval and without auto-merge; all sets that moved in
  one transaction, an element a command, of each set deletions first. After a failure, and now and
  then, sets are read back as JSON; an element that is neither an address nor a prefix ends Felix
  (`sigs.k8s.io/knftables`, parseElementValue, gives a range no key).
- `felix/ipsets`: in iptables mode, sets of the type hash:net for each family.

Felix may suppress members that others cover, by its version and mode. Nothing here does: what is
written must load without that.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sync.calico.manifest import Manifest
from tests.naive.calico_verdict import entity_selector

Selector = tuple[str, str, str]
"""What an entity selects by: its selector, notSelector and namespaceSelector, "" where absent."""

KernelSets = Mapping[Selector, frozenset[str]]
"""The nets of each kernel set, in canonical form, of both families together."""

_PROGRAMS = ("unshare", "nft", "ipset")
_FAMILIES = {4: ("ip", "ipv4_addr", "inet"), 6: ("ip6", "ipv6_addr", "inet6")}
_SECONDS = 120
# Each file is a transaction; the first that fails says so and ends the namespace.
_LOAD = 'for file in "$@"; do {load} "$file" || {{ echo "$file" >&2; exit 1; }}; done; {show}'


def kernel_sets(objects: Iterable[Manifest]) -> KernelSets:
    """The kernel sets of these objects, as far as network sets fill them: pods are not known."""
    there = list(objects)
    selectors = {selector for each in there for selector in _selectors(each)}
    sets = [_labels_and_nets(each) for each in there if each.kind == "GlobalNetworkSet"]
    return {
        selector: frozenset(
            net for labels, nets in sets if _selects(selector, labels) for net in nets
        )
        for selector in selectors
    }


def overlapping(nets: Iterable[str]) -> list[tuple[str, str]]:
    """Neighbours of which the first holds the second: none if no two nets overlap."""
    found = sorted(
        (each.version, int(each.network_address), each.prefixlen, each)
        for each in map(ip_network, nets)
    )
    return [
        (str(one), str(other))
        for (*_, one), (*_, other) in pairwise(found)
        if one.version == other.version and one.supernet_of(other)  # type: ignore[arg-type]
    ]


@lru_cache(1 << 14)
def _selectors(policy: Manifest) -> frozenset[Selector]:
    """The selectors of a policy's rules, staged ones too: they are to be enforced one day."""
    if not policy.kind.endswith("GlobalNetworkPolicy"):
        return frozenset()
    spec = policy.document()["spec"]
    found = {
        tuple(entity.get(key, "") for key in ("selector", "notSelector", "namespaceSelector"))
        for direction in ("ingress", "egress")
        for rule in spec.get(direction, ())
        for entity in (rule.get("source", {}), rule.get("destination", {}))
    }
    return frozenset((one, other, third) for one, other, third in found if one or other or third)


@lru_cache(1 << 14)
def _labels_and_nets(found: Manifest) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    document = found.document()
    nets = [str(ip_network(net, strict=False)) for net in document["spec"].get("nets", ())]
    return tuple(sorted(document["metadata"].get("labels", {}).items())), tuple(nets)


@lru_cache(1 << 18)
def _selects(selector: Selector, labels: tuple[tuple[str, str], ...]) -> bool:
    return entity_selector(*selector)(dict(labels))


# --- the kernel -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataPlane:
    """A kernel that takes sets; `enter` runs a program in a network namespace of its own."""

    enter: tuple[str, ...]

    def refuses(self, *states: KernelSets) -> str:
        """Which of these states, one after another, some data plane does not take, and why; "" if
        each takes all. Of nftables a state is one transaction, and then a deletion and an addition.
        """
        return (
            self.nft_refuses(*states)
            or (self.nft_refuses(*states, apart=True) if len(states) > 1 else "")
            or self.ipset_refuses(*states)
        )

    def nft_refuses(self, *states: KernelSets, apart: bool = False) -> str:
        """The same of interval sets; `apart` deletes in one transaction and adds in the next."""
        numbers = _numbers(states)
        tables = [f"add table {family} calico" for family, _, _ in _FAMILIES.values()]
        transactions = [(0, tables)]
        for number, (old, new) in enumerate(pairwise(({}, *states))):
            made, deleted, added = [], [], []
            for selector, nets in sorted(new.items()):
                for version, (family, kind, _) in _FAMILIES.items():
                    name = f"{family} calico s{numbers[selector]}"
                    if selector not in old:
                        made.append(f"add set {name} {{ type {kind}; flags interval; }}")
                    gone, come = _moved(old.get(selector, frozenset()), nets, version)
                    deleted += [f"delete element {name} {{ {net} }}" for net in gone]
                    added += [f"add element {name} {{ {net} }}" for net in come]
            left = [
                f"delete set {family} calico s{numbers[selector]}"
                for selector in sorted(old.keys() - new.keys())
                for family, _, _ in _FAMILIES.values()
            ]
            parts = ([*made, *deleted], added) if apart else ([*made, *deleted, *added],)
            transactions += [(number, lines) for lines in (*parts, left) if lines]
        shown, failure = self._load(transactions, "nft -f", "nft -j list ruleset")
        if failure:
            return _explained("nftables", failure, numbers)
        return _misread(
            json.loads(shown), {f"s{numbers[key]}": nets for key, nets in states[-1].items()}
        )

    def ipset_refuses(self, *states: KernelSets) -> str:
        """The same of sets of the type hash:net."""
        numbers = _numbers(states)
        transactions: list[tuple[int, list[str]]] = []
        for number, (old, new) in enumerate(pairwise(({}, *states))):
            lines = []
            for selector, nets in sorted(new.items()):
                for version, (_, _, family) in _FAMILIES.items():
                    name = f"s{numbers[selector]}-{version}"
                    if selector not in old:
                        size = "hashsize 64 maxelem 1048576"
                        lines.append(f"create {name} hash:net family {family} {size}")
                    gone, come = _moved(old.get(selector, frozenset()), nets, version)
                    lines += [f"del {name} {net}" for net in gone]
                    lines += [f"add {name} {net}" for net in come]
            for selector in sorted(old.keys() - new.keys()):
                lines += [f"destroy s{numbers[selector]}-{version}" for version in _FAMILIES]
            transactions.append((number, lines))
        _, failure = self._load(transactions, "ipset restore -f", "true")
        return _explained("ipset", failure, numbers) if failure else ""

    def _load(
        self, transactions: Sequence[tuple[int, list[str]]], load: str, show: str
    ) -> tuple[str, tuple[int, list[str], str] | None]:
        """What `show` says in the end, and the first failure: its state, its lines, the error."""
        with tempfile.TemporaryDirectory(prefix="zb-planes-") as directory:
            files = []
            for number, (_, lines) in enumerate(transactions):
                files.append(Path(directory, f"{number:06}"))
                files[-1].write_text("".join(f"{line}\n" for line in lines))
            script = _LOAD.format(load=load, show=show)
            done = subprocess.run(
                [*self.enter, "sh", "-c", script, "load", *map(str, files)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        if not done.returncode:
            return done.stdout, None
        *error, last = done.stderr.splitlines() or [""]
        if not last.startswith(directory):
            raise AssertionError(f"the namespace failed: {done.stderr}")
        state, lines = transactions[int(Path(last).name)]
        return "", (state, lines, "\n".join(error))


def _numbers(states: Iterable[KernelSets]) -> dict[Selector, int]:
    """A number for each selector, for the name of its set."""
    return {
        key: number for number, key in enumerate(sorted({key for all_ in states for key in all_}))
    }


def _moved(old: frozenset[str], new: frozenset[str], version: int) -> tuple[list[str], list[str]]:
    """The nets of a family that go, and those that come."""

    def of_family(nets: Iterable[str]) -> list[str]:
        return sorted(net for net in nets if (":" in net) == (version == 6))

    return of_family(old - new), of_family(new - old)


def _explained(
    plane: str, failure: tuple[int, list[str], str], numbers: Mapping[Selector, int]
) -> str:
    """A failure with the command and the selector of the set that it is about."""
    state, lines, error = failure
    found = re.search(r"(?:^\S+?:|in line )(\d+)", error)
    line = lines[int(found[1]) - 1] if found else ""
    name = re.search(r"\bs(\d+)\b", line)
    selector = next((key for key, number in numbers.items() if name and int(name[1]) == number), "")
    return f"{plane}, state {state}: {line!r} of {selector}: {error[:500]}"


def _misread(ruleset: Mapping[str, Any], expected: Mapping[str, frozenset[str]]) -> str:
    """Where what Felix would read back is not what it wrote; "" if it is."""
    found: dict[str, set[str]] = {name: set() for name in expected}
    for each in ruleset["nftables"]:
        for element in each.get("set", {}).get("elem", ()):
            match element:
                case str():
                    found[each["set"]["name"]].add(str(ip_network(element)))
                case {"prefix": {"addr": address, "len": length}}:
                    found[each["set"]["name"]].add(str(ip_network(f"{address}/{length}")))
                case _:
                    return f"nftables: Felix cannot read {element} back"
    wrong = [name for name, nets in expected.items() if found[name] != nets]
    return f"nftables: {wrong[0]} is read back as {found[wrong[0]]}" if wrong else ""


@pytest.fixture(scope="session")
def data_plane() -> Iterator[DataPlane]:
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    reason = f"{', '.join(missing)} are not installed (Debian: nftables, ipset)" if missing else ""
    # A user without rights may be root in a namespace of users, where the kernel allows that.
    for enter in ((), ("--user", "--map-root-user")) if not missing else ():
        plane = DataPlane(("unshare", *enter, "--net"))
        tried = subprocess.run(
            [*plane.enter, "sh", "-c", "nft list ruleset && ipset list"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not tried.returncode:
            yield plane
            return
        reason = f"no network namespace with sets can be made: {tried.stderr.strip()[:200]}"
    if os.environ.get("CI"):
        pytest.fail(f"there is no kernel to load sets into: {reason}")
    pytest.skip(f"kernel sets are NOT tested: {reason}")
