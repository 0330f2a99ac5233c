"""Write a first configuration as text, with comments on what to decide next.

Its commented-out parts are valid too when their `#` is removed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import yaml

from sync.text import printable

_WIDTH = 100
_SHOWN = 8  # networks of a zone


@dataclass(frozen=True, slots=True)
class StartZone:
    """A zone of one device group.

    `networks` are the CIDRs that templates give it; empty if they are unknown, and `because` says
    why. `rules` is the number of rules that name it.
    """

    name: str
    networks: tuple[str, ...]
    because: str
    rules: int


@dataclass(frozen=True, slots=True)
class StartDeviceGroup:
    """A device group of an exported configuration; `parent` is empty if it is Shared."""

    name: str
    parent: str
    rules: int


def start(
    export: str,
    chosen: Mapping[str, Sequence[StartZone]],
    found: Sequence[StartDeviceGroup] = (),
) -> str:
    """Return the text of a configuration that `sync.settings.load` accepts.

    `export` is the path of the exported configuration, relative to the file; each device group in
    `chosen` gets a cluster with its zones; `found` are all device groups.
    """
    lines = [_HEAD.format(export=_scalar(export)), *_definitions(chosen), ""]
    return "\n".join([*lines, *_clusters(chosen, found)]) + "\n"


_HEAD = """\
# The configuration of zonebridge. Paths are relative to this file's directory. Every key is in
# docs/configuration.md, and `zonebridge config check` checks this file.

# Marks the objects of this installation: use another one for each that shares a cluster with it.
instance: zonebridge

# Panorama > Setup > Operations > Export named Panorama configuration snapshot
sources:
  - name: main
    kind: file
    path: {export}

# State and the audit trail; or postgresql+psycopg://USER@HOST/DATABASE
store:
  url: sqlite:///zonebridge.db

zones:
  # The pod label that names a pod's zone, where no definition below selects the pod.
  label: firewall.tigera.io/zone
  # Flows between a zoned pod and one without a zone, where no rule matches: pass or deny.
  unzoned_pods: pass
  # Flows with an address outside pods that is in no zone, where no rule matches: deny or pass.
  unknown_addresses: deny

  # Flows that zoned pods may always have: put your cluster's addresses here.
  # essentials:
  #   # cluster DNS (with NodeLocal DNSCache its address too: cidrs: [169.254.20.10/32])
  #   - direction: egress
  #     "on": all()
  #     pods: k8s-app == 'kube-dns'
  #     ports: [53/udp, 53/tcp]
  #   # the API server: its own address, not that of its service
  #   - {{direction: egress, "on": all(), cidrs: [192.0.2.1/32], ports: [6443/tcp]}}
  #   # nodes, and pods with their node's network
  #   - {{direction: ingress, "on": all(), cidrs: [192.0.2.0/24]}}

  # Zones by name; if two select one pod, the first has it. A definition may hold
  #   workloads: {{namespace_selector: team == 'shop'}}
  #     its pods, by labels of their namespaces; without it, those with the zone's label
  #   networks: [10.0.0.0/8]
  #     its addresses outside pods, [] if there are none; without it, those of the templates.
  #     They apply to all device groups, and replace what templates derive"""


def _definitions(chosen: Mapping[str, Sequence[StartZone]]) -> Iterator[str]:
    zones: dict[str, list[tuple[str, StartZone]]] = {}
    for group, of_group in chosen.items():
        for zone in of_group:
            zones.setdefault(zone.name, []).append((group, zone))
    yield "  definitions:" if zones else "  definitions: {}"
    for name, seen in sorted(zones.items()):
        derived = any(zone.networks for _, zone in seen)
        beware = (
            " in every device group: what is given applies to all of them, and replaces what "
            "templates derive"
        )
        for group, zone in seen:
            prefix = f"{group}: " if len(chosen) > 1 else ""
            yield from _comment(prefix + _networks_known(zone, beware if derived else ""), 4)
        yield f"    {_scalar(name)}: {{}}"


def _networks_known(zone: StartZone, beware: str) -> str:
    """What is known of a zone's networks; `beware` is what else counts before they are given."""
    if zone.networks:
        shown = ", ".join(zone.networks[:_SHOWN])
        more = len(zone.networks) - _SHOWN
        return f"derived: {shown}{f' and {more} more' if more > 0 else ''}"
    return (
        f"networks unknown: {zone.because}; give them, or [] if it has only pods{beware} (rules "
        f"that name it: {zone.rules})"
    )


_CLUSTER = """\
  - name: {name}
    kind: manifests               # one YAML file for each object, in a directory
    path: {path}
    # kind: kubernetes            # written over its API, instead of these two
    # kubeconfig: kubeconfig      # without it: the cluster of zonebridge's own pod
    # pod_cidrs: [10.244.0.0/16]  # networks that hold every pod
    device_groups:
      - name: {group}
        tier: firewallpolicy
        order: 101
        mode: staged              # enforced: policies take effect"""


def _clusters(
    chosen: Mapping[str, Sequence[StartZone]], found: Sequence[StartDeviceGroup]
) -> Iterator[str]:
    if found:
        yield "# Device groups of the export:"
    for each in found:
        below = f", below {each.parent}" if each.parent else ""
        yield from _comment(f"{each.name}{below}: {each.rules} rules", 0)
    yield "clusters:"
    names: set[str] = set()
    for number, group in enumerate(chosen, 1):
        name = re.sub("[^A-Za-z0-9]+", "-", group)[:50].strip("-") or "cluster"
        name = f"{name}-{number}" if name in names else name
        names.add(name)
        yield _CLUSTER.format(name=_scalar(name), path=_scalar(f"out/{name}"), group=_scalar(group))


def _comment(text: str, indent: int) -> Iterator[str]:
    # A name may contain a line break, after which the text would not be a comment.
    plain = printable("".join(each if each.isprintable() else "?" for each in text))
    start_of_line = " " * indent + "# "
    for line in wrap(plain, _WIDTH - len(start_of_line)):
        yield start_of_line + line


def _scalar(text: str) -> str:
    """Quote a text as YAML that every parser reads as that text."""
    if re.fullmatch("[A-Za-z0-9./][A-Za-z0-9./_-]*", text) and yaml.safe_load(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', width=2**20, allow_unicode=True)
    # What YAML would leave as it is, marks that turn a line around among them, it can escape too.
    return printable(quoted.strip())
