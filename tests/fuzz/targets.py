"""The readers of what comes from outside, each as one call on bytes with the errors it declares."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

from lxml import etree

from sync.assembly import translation_options
from sync.calico.validator import validate
from sync.errors import SourceError, UsageError
from sync.firewall import addressing, tag_filter
from sync.firewall.configuration import Configuration, Provenance, Snapshot
from sync.firewall.effective import effective
from sync.firewall.groups import resolve_groups
from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from sync.firewall.runtime import Registrations, tagged
from sync.firewall.zone_networks import derived
from sync.net import addresses, ports
from sync.reconcile.device_groups import TierBinding, target_of
from sync.settings import load
from sync.sources import NoMemory
from sync.sources.panorama.client import ApiKey, PanoramaHost
from sync.sources.panorama.connection import AT_ONCE, PanoramaConnection
from sync.sources.panorama.registered_ips import RegistrationCache
from sync.sources.panorama.source import PanoramaSource
from sync.translate.compiler import Options
from tests.conftest import ROOT, samples
from tests.fuzz.mutation import HOSTILE, mutated_bytes, mutated_xml
from tests.translation import settings_of_one_cluster, translate
from tests.words import document, entry, members, tag, text
from zonebridge_simulator.faults import LOGIN_PAGE

_AUDIT = tag("result", *(entry(str(each), text("administrator", "alice")) for each in (51, 52)))
_JOB = "".join(
    text(name, said)
    for name, said in (("id", "7"), ("type", "Commit"), ("status", "FIN"), ("result", "OK"))
)
_USED = "datacenter-eu"
_ROW = '<entry ip="10.0.0.1"><tag><member>web</member></tag></entry>'
_APPLICATION = entry("chat-base", tag("default", members("port", ["tcp/80,443"])))
_CONTAINER = entry("chat", members("functions", ["chat-base"]))
_PARTS = ("shared", "device-group", "template", "template-stack")


@dataclass(frozen=True, slots=True)
class Target:
    """A reader: what it gets by the number of a document, and what it may raise.

    `share` of a hundred documents are its.
    """

    name: str
    share: int
    made: Callable[[Random], bytes]
    read: Callable[[bytes], object]
    declared: tuple[type[Exception], ...]


# --- configurations -------------------------------------------------------------------------------


@cache
def _originals() -> tuple[etree._Element, ...]:
    """The samples and the demo company's configuration, and one with nothing but a device group."""
    found = []
    for path in samples():
        with suppress(SourceError):
            parse(data := path.read_bytes(), path.name)
            found.append(etree.fromstring(data))
    return (*found, etree.fromstring(document()))


@cache
def _original_bytes() -> tuple[bytes, ...]:
    return tuple(etree.tostring(each) for each in _originals())


def _documents(random: Random) -> bytes:
    if random.random() < 0.1:
        return mutated_bytes(random, random.choice(_original_bytes()), _original_bytes())
    return mutated_xml(random, random.choice(_originals()))


def read_all(data: bytes) -> Configuration:
    """A configuration, and what each of its device groups sees, has for zones and for groups."""
    configuration = read_configuration(parse(data, "fuzz.xml"))
    for name in configuration.device_groups:
        with suppress(SourceError):
            seen = effective(configuration, name)
            derived(configuration, name)
            groups = resolve_groups(seen.objects.addresses, registered_known=True)
            assert set(groups) == {each.name for each in seen.groups()}
    return configuration


@cache
def _options() -> Options:
    return translation_options(
        settings_of_one_cluster(), (("app.kubernetes.io/managed-by", "zonebridge"),)
    )


def translate_all(data: bytes) -> None:
    """The policies and sets of every device group, held to the validator."""
    configuration = read_configuration(parse(data, "fuzz.xml"))
    snapshot = Snapshot(configuration, Provenance("main", "fuzz.xml", "1"))
    for name in configuration.device_groups:
        with suppress(SourceError, UsageError):
            here = TierBinding("main", name, mode="enforced")
            made = translate("c", [target_of(here, snapshot)], _options(), {})
            for manifest in made.manifests.values():
                validate(manifest)


# --- answers --------------------------------------------------------------------------------------


def _answer(*inner: str) -> bytes:
    return f'<response status="success">{"".join(inner)}</response>'.encode()


@cache
def _answers() -> Mapping[str, bytes]:
    """What a Panorama answers to each call of a read, by what the call's text holds."""
    export = etree.fromstring((ROOT / "config" / "demo" / "panorama.xml").read_bytes())
    config = export if export.tag == "config" else export.find("result/config")
    assert config is not None
    found = {
        "keygen": _answer(tag("result", text("key", "LUFRPT0="))),
        "<audit>": _answer(_AUDIT),
        "<jobs>": _answer(tag("result", tag("job", _JOB))),
        "<high-availability>": _answer(tag("result", text("enabled", "no"))),
        "<system>": _answer(
            tag("result", tag("system", text("sw-version", "11.1.6"), text("app-version", "8-9")))
        ),
        "<devicegroups>": _answer(tag("result", tag("devicegroups", entry(_USED)))),
        "count": _answer(tag("result", text("count", "1"))),
        "<limit>": _answer(tag("result", _ROW, text("count", "1"))),
        "application-container": _answer(tag("result", tag("application-container", _CONTAINER))),
        "/application": _answer(tag("result", tag("application", _APPLICATION))),
        "ancestor-objects": _answer(tag("result", text("ancestor-objects-take-precedence", "no"))),
    }
    for part in (*_PARTS, "readonly"):
        where = {"shared": part, "readonly": f"{part}/devices/entry/device-group"}
        element = config.find(where.get(part, f"devices/entry/{part}"))
        inner = "" if element is None else etree.tostring(element, encoding="unicode")
        found[f"/{part}"] = _answer(tag("result", inner))
    return found


@cache
def _answer_trees() -> tuple[tuple[int, etree._Element], ...]:
    """The answers by the number of their call, those that are small more often than the others."""
    trees = [(each, etree.fromstring(body)) for each, body in enumerate(_answers().values())]
    folder = samples()[0].parent / "api-responses"
    trees += [(2, etree.parse(path).getroot()) for path in sorted(folder.glob("*.xml"))]
    return tuple(trees)


def _wrong_answers(random: Random) -> bytes:
    """The number of a call, and what comes instead of its answer."""
    call, tree = random.choice(_answer_trees())
    if random.random() < 0.1:
        call = random.randrange(len(_answers()))
    if random.random() < 0.02:
        return bytes([call]) + mutated_bytes(random, LOGIN_PAGE)
    return bytes([call]) + mutated_xml(random, tree)


class _Told(PanoramaConnection):
    """A line on which one call is answered otherwise."""

    def __init__(self, wrong: str, body: bytes) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__("main", "panorama", 443, context, BoundedSemaphore(AT_ONCE))
        self._answers = {**_answers(), wrong: body}
        # Jobs and the state of a pair are asked for where there are no versions.
        if wrong in ("<jobs>", "<high-availability>"):
            self._answers["<audit>"] = _answer("<result/>")

    def _answer(self, form: Mapping[str, str], key: str | None) -> bytes:
        del key
        asked = form.get("cmd") or form.get("xpath") or form["type"]
        # The hierarchy is a device group too, and a template stack a template.
        if asked.startswith("/config/readonly"):
            return self._answers["/readonly"]
        if asked.endswith("/template-stack"):
            return self._answers["/template-stack"]
        return next(body for part, body in self._answers.items() if part in asked)


def read_answer(data: bytes) -> None:
    """A read of a Panorama of whose calls one is answered wrongly: its first byte says which."""
    calls = list(_answers())
    line = _Told(calls[(data or b"\0")[0] % len(calls)], data[1:])
    member = PanoramaHost(line, lambda: ApiKey(None, "reader", "secret"), lambda seconds: None)
    source = PanoramaSource(
        "main",
        [member],
        timedelta(minutes=15),
        timedelta(seconds=30),
        device_groups=(_USED,),
        devices=(),
        last_told=RegistrationCache("main", NoMemory(), 1800),
        now=lambda: 0.0,
    )
    source.read()


# --- values ---------------------------------------------------------------------------------------

_READERS: tuple[Callable[[str], object], ...] = (
    *(addressing.ip_netmask, addressing.ip_range, addressing.ip_wildcard, addressing.literal),
    *(addresses.network, ports.ports),
)


def _values(random: Random) -> bytes:
    """Lines of an address and its tags, and of filters."""
    lines = []
    for _ in range(random.choice((1, 1, 2, 5, 40))):
        first, second = random.choice(HOSTILE), random.choice(HOSTILE)
        host = f"10.{random.randrange(3)}.{random.randrange(256)}.{random.randrange(256)}"
        lines.append(
            random.choice((first, host, f"{host}/{random.randrange(33)}", f"{host}-{host}"))
        )
        lines.append(random.choice((second, "web", "not web", "(web or db) and 'Tier 1'")))
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return mutated_bytes(random, data) if random.random() < 0.7 else data


def read_values(data: bytes) -> None:
    """Every line as an address, as ports and as a filter; all of them as registered addresses."""
    filters: list[tag_filter.TagFilter] = []
    rows: list[tuple[addresses.AddressSet, list[str]]] = []
    for line in data.decode("utf-8", "replace").split("\n"):
        for read in _READERS:
            with suppress(ValueError):
                read(line)
        with suppress(ValueError):
            filters.append(tag_filter.parse(line))
        if found := addressing.literal(line):
            rows.append((found, line.split(".")))
        elif rows:
            rows[-1][1].append(line)
    registrations = Registrations((tagged(rows), tagged(rows[1:])))
    everything = addresses.AddressSet.union(row for row, _ in rows)
    for each in filters[:20]:
        held = registrations.held(each).surely
        assert not held - everything


# --- settings -------------------------------------------------------------------------------------


def _settings(random: Random) -> bytes:
    data = (ROOT / "config" / "demo" / "zonebridge.yaml").read_bytes()
    tokens = (b"- ", b": ", b"*a", b"&a", b"!!x ", b"{", b"[" * 50, b"|", b"\t", b"? ", b"%YAML 9")
    at = random.randint(0, len(data))
    return mutated_bytes(random, data[:at] + random.choice(tokens) + data[at:])


def read_settings(data: bytes) -> None:
    """A configuration file of ours."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "zonebridge.yaml"
        path.write_bytes(data)
        load(path, {})


TARGETS = (
    Target("configuration", 45, _documents, read_all, (SourceError,)),
    Target("answer", 25, _wrong_answers, read_answer, (SourceError,)),
    Target("values", 15, _values, read_values, ()),
    Target("settings", 5, _settings, read_settings, (UsageError,)),
    Target("translation", 10, _documents, translate_all, (SourceError,)),
)


def numbered(seed: int, number: int) -> tuple[Target, bytes]:
    """A document by its number: of which target, and its bytes."""
    random = Random(f"{seed} {number}")
    target = random.choices(TARGETS, [each.share for each in TARGETS])[0]
    return target, target.made(random)
