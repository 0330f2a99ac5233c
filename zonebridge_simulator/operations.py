"""Responses to `type=op`, command by command."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from .configuration import show, show_predefined
from .elements import entry, tag, text
from .faults import ApiError
from .server import Answer
from .state import Commit, Job, State

PAGE = 500
"""The most registered addresses in one answer to a command with a limit."""

_GROUPS = "devices/entry[@name='localhost.localdomain']/device-group/entry"
_READONLY = f"readonly/{_GROUPS}"
_TIME = "%Y/%m/%d %H:%M:%S"


def answer_op(state: State, cmd: str, target: str, vsys: str = "") -> Answer:
    try:
        command = etree.fromstring(cmd, etree.XMLParser(resolve_entities=False))
    except etree.XMLSyntaxError:
        return invalid(cmd)
    path = _path(command)
    with state.lock:
        if path.startswith("show/object/registered-ip"):
            return _registered(state, command, target, vsys)
        if target:
            return ApiError(f"{target} not connected", 13).answer()
        if path == "show/config/running/xpath":
            return show(state.running, command.findtext("config/running/xpath") or "")
        if path == "show/predefined/xpath" and state.predefined is not None:
            return show_predefined(state, command.findtext("predefined/xpath") or "")
        if path not in _COMMANDS:
            return invalid(cmd)
        if path in _ACTIVE_ONLY and not state.is_active:
            return ApiError("command not allowed on a passive device", 15).answer()
        return _COMMANDS[path](state)


def invalid(cmd: str) -> Answer:
    return ApiError(f"{cmd} is invalid", 17).answer()


def _path(command: etree._Element) -> str:
    """The names of a command's words, down to where it branches."""
    names = [str(command.tag)]
    while len(command) == 1:
        command = command[0]
        names.append(str(command.tag))
    return "/".join(names)


def _success(*inner: str, code: str = "") -> Answer:
    return Answer(f'<response status="success"{code}>{tag("result", *inner)}</response>'.encode())


def answer_complete(state: State, xpath: str) -> Answer:
    """The completions of a word on the command line: here, the versions of the audit log."""
    if xpath != "/operations/show/config/audit/version":
        return invalid(xpath)
    with state.lock:
        rows = (
            f'<completion value="{each.version}" help-string="{each.date.strftime(_TIME)}"/>'
            for each in state.commits
        )
        completions = tag("completions", *rows)
    return Answer(f'<response status="success" code="19">{completions}</response>'.encode())


# --- versions and jobs ----------------------------------------------------------------------------


def _audit(state: State) -> Answer:
    commits = state.commits[::-1]
    match state.audit_shape:
        case "newest-first":
            return _success(*map(_version, commits))
        case "oldest-first":
            rows = (
                entry(
                    str(each.version),
                    text("time", each.date.strftime(_TIME)),
                    text("jobid", str(each.job)),
                    text("admin", each.administrator),
                    text("comment", each.description),
                )
                for each in commits[::-1]
            )
            return _success(tag("audit", tag("versions", *rows)))
        case "text":
            rows = (
                f"{each.version:<9}{each.date.strftime(_TIME)}  {each.job:<8}"
                f"{each.administrator:<16}{each.description}\n"
                for each in commits
            )
            return _success(escape("".join(["version  date  job  admin  description\n", *rows])))
        case "unsupported":
            return invalid("show -> config -> audit")
        case say:
            return _success(say(commits))


def _version(each: Commit) -> str:
    return entry(
        str(each.version),
        text("date", each.date.strftime(_TIME)),
        text("job", str(each.job)),
        text("administrator", each.administrator),
        text("description", each.description),
    )


def _jobs(state: State) -> Answer:
    return _success(*map(_job, state.jobs[::-1]))


def _job(job: Job) -> str:
    if job.number is None:
        line = tag("details", text("line", "job failed because of configd restart"))
        return tag("job", text("type", job.kind), line, "<warnings/>")
    whole, time = job.enqueued.strftime(_TIME), job.enqueued.strftime("%H:%M:%S")
    finished = (time if job.brief else whole) if job.status == "FIN" else "Still Active"
    return tag(
        "job",
        text("tenq", whole),
        text("tdeq", time),
        text("id", str(job.number)),
        text("user", job.user),
        text("type", job.kind),
        text("status", job.status),
        text("queued", "NO"),
        text("stoppable", "no"),
        text("result", job.result if job.status == "FIN" else "PEND"),
        text("tfin", finished),
        text("description", job.description),
        text("positionInQ", "0"),
        text("progress", "100" if job.status == "FIN" else "55"),
    )


# --- device groups --------------------------------------------------------------------------------


def _hierarchy(state: State) -> Answer:
    known = {str(each.get("name")): each for each in state.running.iterfind(_READONLY)}
    children: dict[str, list[str]] = {}
    for group in state.running.iterfind(_GROUPS):
        name = str(group.get("name"))
        parent = known[name].findtext("parent-dg") if name in known else None
        children.setdefault(parent or "", []).append(name)

    def below(parent: str) -> Iterable[str]:
        for number, name in enumerate(children.get(parent, ()), 11):
            given = known[name].findtext("id") if name in known else None
            inner = "".join(below(name))
            yield f'<dg dg_id="{given or number}" name={quoteattr(name)}>{inner}</dg>'

    return _success(tag("dg-hierarchy", *below("")), code=' code="19"')


def _device_groups(state: State) -> Answer:
    groups = {str(each.get("name")): each for each in state.running.iterfind(_GROUPS)}
    parents = {
        str(each.get("name")): each.findtext("parent-dg")
        for each in state.running.iterfind(_READONLY)
    }

    def pushed(name: str | None) -> bytes:
        """The content of a push of a device group: Shared, its ancestors and itself."""
        node = groups.get(name) if name else state.running.find("shared")
        said = b"" if node is None else etree.tostring(node, method="c14n", with_tail=False)
        return (pushed(parents.get(name)) if name else b"") + said

    rows = []
    for name, group in groups.items():
        digest = hashlib.md5(pushed(name), usedforsecurity=False).hexdigest()
        rows.append(_device_group(state, group, text("shared-policy-md5sum", digest)))
    return _success(tag("devicegroups", *rows))


def _device_group(state: State, group: etree._Element, digest: str) -> str:
    devices = [_device(state, each, digest) for each in group.iterfind("devices/entry")]
    return entry(str(group.get("name")), digest, *([tag("devices", *devices)] if devices else []))


def _device(state: State, device: etree._Element, digest: str) -> str:
    serial = str(device.get("name"))
    status = text("shared-policy-status", state.shared_policy_status.get(serial, "In Sync"))
    systems = [
        entry(str(each.get("name")), text("display-name", str(each.get("name"))), status, digest)
        for each in device.iterfind("vsys/entry")
    ]
    return entry(
        serial,
        text("serial", serial),
        text("connected", "no" if serial in state.disconnected else "yes"),
        text("last-commit-all-state-sp", "commit succeeded"),
        status,
        digest,
        text("hostname", f"firewall-{serial}"),
        text("multi-vsys", "yes" if systems else "no"),
        tag("vsys", *systems),
    )


# --- the Panorama itself --------------------------------------------------------------------------


def _ha(state: State) -> Answer:
    if state.ha is None:
        return _success(text("enabled", "no"))
    local = {"active": "primary-active", "passive": "secondary-passive"}.get(state.ha, state.ha)
    priority = local.partition("-")[0]
    other = "secondary" if priority == "primary" else "primary"
    peer = f"{other}-{'passive' if state.is_active else 'active'}"
    return _success(
        text("enabled", "yes"),
        tag(
            "local-info",
            text("priority", priority),
            text("state", local),
            text("state-duration", "10840"),
            text("mgmt-ip", "192.0.2.1/24"),
            text("build-rel", state.system["sw-version"]),
        ),
        tag(
            "peer-info",
            text("conn-status", "up"),
            text("priority", other),
            text("state", peer),
            text("mgmt-ip", "192.0.2.2"),
        ),
        tag("path-monitoring", text("failure-condition", "any"), text("enabled", "yes")),
        text("running-sync", state.running_sync),
        text("running-sync-enabled", "yes"),
    )


def _system(state: State) -> Answer:
    rows = {**state.system, "time": state.clock().strftime("%a %b %d %H:%M:%S %Y")}
    return _success(tag("system", *(text(name, value) for name, value in rows.items())))


# --- registered addresses -------------------------------------------------------------------------


def _registered(state: State, command: etree._Element, target: str, vsys: str) -> Answer:
    rows: Mapping[str, Sequence[str]] = state.registered
    if target:
        place = f"{target}/{vsys}" if vsys else target
        if place not in state.registered_on or target in state.disconnected:
            return ApiError(f"{target} not connected", 13).answer()
        rows = state.registered_on[place]
    asked = command.find("object/registered-ip")
    assert asked is not None
    if asked.findtext("all/option") == "count":
        return _success(text("count", str(len(rows))))
    listed = list(rows.items())
    limit = asked.findtext("limit")
    if limit is not None:
        start = asked.findtext("start-point") or "1"
        if not (limit.isdigit() and start.isdigit() and 1 <= int(limit) <= PAGE and int(start)):
            return invalid("show -> object -> registered-ip -> limit")
        listed = listed[int(start) - 1 :][: int(limit)]
    return _success(
        *(
            f'<entry ip="{escape(address)}" from_agent="0" persistent="1">'
            + tag("tag", *(text("member", each) for each in tags))
            + "</entry>"
            for address, tags in listed
        ),
        text("count", str(len(listed))),
    )


_COMMANDS: dict[str, Callable[[State], Answer]] = {
    "show/config/audit/info": _audit,
    "show/jobs/all": _jobs,
    "show/dg-hierarchy": _hierarchy,
    "show/devicegroups": _device_groups,
    "show/high-availability/state": _ha,
    "show/system/info": _system,
}

_ACTIVE_ONLY = {"show/config/audit/info"}
