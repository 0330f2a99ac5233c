"""How long a large configuration takes to read, and how much memory, beside two yardsticks.

    python -m benchmarks.reading

The bare parse is what no reader of the document can beat; pan-os-python is what others would use.
Each reading has a process of its own, the three take turns, and the table gives ratios: seconds
are this machine's, ratios are nearly everyone's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# What a reading hands back: something that keeps its objects alive, and what it found.
Found = dict[str, int]
Reading = Callable[[str], tuple[object, Found]]


@dataclass(frozen=True)
class Measured:
    """One reading in a process of its own.

    `seconds` is from the path to the finished objects, `peak` the process's largest resident
    memory in MiB less what it had with its imports alone.
    """

    seconds: float
    peak: float
    found: Found


# --- the three sides ------------------------------------------------------------------------------


def bare() -> Reading:
    """lxml's tree and nothing more."""
    from lxml import etree

    def read(path: str) -> tuple[object, Found]:
        return etree.parse(path), {}

    return read


def pan_os_python() -> Reading:
    """pan-os-python's objects from the same document.

    In its favour: the document is parsed from the file (from a device, pan-python also keeps the
    response's text and a deep copy of its tree), and only the classes are built whose elements we
    read too; `DeviceGroup.refreshall_from_xml`, the one call for everything, tries a dozen more.
    Names are not resolved and rules not put in order: the library leaves that to its caller.
    """
    import xml.etree.ElementTree as ET

    from panos import network, objects, panorama, policies

    in_scope = (
        objects.Tag,
        objects.AddressObject,
        objects.AddressGroup,
        objects.ServiceObject,
        objects.ServiceGroup,
        objects.ApplicationObject,
        objects.ApplicationGroup,
        objects.ApplicationFilter,
        objects.Region,
        objects.Edl,
    )

    def children(parent: object, classes: tuple[type, ...], element: ET.Element) -> None:
        """Hang every object of these classes under `parent`, as the library's own refresh does."""
        for cls in classes:
            # A parent first: the library asks the Panorama at the top for its version.
            factory = cls()
            factory.parent = parent
            found = element.find(factory.XPATH[1:])
            if found is not None:
                parent.extend(factory.refreshall_from_xml(found, refresh_children=False))  # type: ignore[attr-defined]  # pan-os-python has no types

    def scope(parent: object, element: ET.Element) -> None:
        children(parent, in_scope, element)
        for cls in (policies.PreRulebase, policies.PostRulebase):
            rulebase = cls()
            parent.add(rulebase)  # type: ignore[attr-defined]  # pan-os-python has no types
            found = element.find(rulebase.XPATH[1:])
            if found is not None:
                children(rulebase, (policies.SecurityRule,), found)

    def read(path: str) -> tuple[object, Found]:
        config = ET.parse(path).getroot()
        top = panorama.Panorama("panorama.example", api_key="none")
        top._set_version_and_version_info("11.1.6")  # noqa: SLF001  # else it would ask the device
        shared = config.find("shared")
        if shared is not None:
            scope(top, shared)
        for entry in config.findall("devices/entry/device-group/entry"):
            device_group = panorama.DeviceGroup(entry.attrib["name"])
            top.add(device_group)
            scope(device_group, entry)
        for entry in config.findall("devices/entry/template/entry"):
            template = panorama.Template(entry.attrib["name"])
            top.add(template)
            for vsys in entry.findall("config/devices/entry/vsys/entry"):
                children(template, (network.Zone,), vsys)
        return top, {
            "addresses": len(top.findall(objects.AddressObject, recursive=True)),
            "groups": len(top.findall(objects.AddressGroup, recursive=True)),
            "rules": len(top.findall(policies.SecurityRule, recursive=True)),
        }

    return read


def zonebridge(clusters: int | None = 1) -> Reading:
    """Ours: every object read, and every group resolved that a device group sees.

    For so many device groups without children (None: all of them), as a cycle does with a cluster
    for each. The other sides resolve nothing.
    """
    from sync.firewall.effective import effective
    from sync.firewall.groups import resolve_groups
    from sync.firewall.objects import Address, AddressGroup
    from sync.sources.export import ExportSource

    def read(path: str) -> tuple[object, Found]:
        configuration = ExportSource("main", Path(path)).read().configuration
        groups = configuration.device_groups.values()
        resolved = {}
        leaves = configuration.device_groups.keys() - {group.parent for group in groups}
        for name in sorted(leaves)[:clusters]:
            objects = effective(configuration, name).objects.addresses
            resolved[name] = resolve_groups(objects, registered_known=True)
        scopes = [configuration.shared, *(group.scope for group in groups)]
        addresses = [each for scope in scopes for each in scope.objects.addresses.values()]
        return (configuration, resolved), {
            "addresses": sum(isinstance(each, Address) for each in addresses),
            "groups": sum(isinstance(each, AddressGroup) for each in addresses),
            "rules": sum(len(scope.rulebases.pre) + len(scope.rulebases.post) for scope in scopes),
        }

    return read


SIDES: dict[str, Callable[[], Reading]] = {
    "bare lxml parse": bare,
    "pan-os-python": pan_os_python,
    "zonebridge": zonebridge,
    "… for each leaf": lambda: zonebridge(None),
}


# --- measuring ------------------------------------------------------------------------------------


def peak_mib() -> float:
    """The largest resident memory of this process so far."""
    try:
        # ru_maxrss also remembers the parent that this process was forked from, VmHWM does not.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def measure_here(side: str, path: str) -> Measured:
    """One reading in this very process, which should be a fresh one."""
    read = SIDES[side]()
    before = peak_mib()
    start = time.perf_counter()
    kept, found = read(path)
    seconds = time.perf_counter() - start
    peak = peak_mib() - before
    del kept
    return Measured(seconds, peak, found)


def measure(side: str, path: Path) -> Measured:
    """One reading in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reading", "--side", side, "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} could not read {path}:\n{done.stderr}")
    return Measured(**json.loads(done.stdout))


def best(runs: list[Measured]) -> Measured:
    """The least time and the least memory of all runs: what is above is the machine's."""
    return Measured(min(run.seconds for run in runs), min(run.peak for run in runs), runs[0].found)


def table(measured: dict[str, Measured]) -> str:
    """The figures, and each side as a multiple of the two yardsticks."""
    yardsticks = [side for side in measured if side in ("bare lxml parse", "pan-os-python")]
    header = f"{'':18}{'seconds':>9}{'MiB':>8}"
    for side in yardsticks:
        header += f"{'time / ' + side:>26}{'memory / ' + side:>28}"
    lines = [header]
    for side, run in measured.items():
        line = f"{side:18}{run.seconds:9.2f}{run.peak:8.0f}"
        for yardstick in yardsticks:
            other = measured[yardstick]
            line += f"{run.seconds / other.seconds:25.2f}×{run.peak / other.peak:27.2f}×"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure every side in turn and print the table."""
    parser = argparse.ArgumentParser(description="Measure how a large configuration is read.")
    parser.add_argument("--file", type=Path, help="a document of yours; else one is generated")
    parser.add_argument(
        "--runs", type=int, default=3, help="readings of each side; the best counts"
    )
    parser.add_argument("--addresses", type=int, default=50_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        print(json.dumps(vars(measure_here(options.side, str(options.file)))))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = options.file
        if path is None:
            path = Path(directory) / "panorama.xml"
            sizes = [
                f"--{name}={getattr(options, name)}"
                for name in ("addresses", "groups", "members", "rules")
            ]
            command = [sys.executable, "-m", "benchmarks.generate", str(path), *sizes]
            subprocess.run(command, check=True)
        compare(path, options.runs)


def compare(path: Path, runs: int) -> None:
    """Every side `runs` times, in turns, so that a busy minute does not fall on one alone."""
    taken: dict[str, list[Measured]] = {}
    for _ in range(runs):
        for side in SIDES:
            taken.setdefault(side, []).append(measure(side, path))
    measured = {side: best(all_runs) for side, all_runs in taken.items()}
    print(f"{path.stat().st_size / 1024**2:.0f} MiB of XML, best of {runs}")
    for side, run in measured.items():
        if run.found:
            counts = ", ".join(f"{many:,} {what}" for what, many in run.found.items())
            print(f"  {side} found {counts}")
    different = {tuple(sorted(run.found.items())) for run in measured.values() if run.found}
    if len(different) > 1:
        print("  They did not read the same, so the comparison is not fair.")
    print(f"\n{table(measured)}")


if __name__ == "__main__":
    main()
