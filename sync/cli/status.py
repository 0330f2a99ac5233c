"""`zonebridge status`: the state of clusters and sources, from the store."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from sync.cli.context import Context, fitted, print_json, until_closed
from sync.cli.unconfigured import sentences, unconfigured
from sync.store import Approval, Asked, HalfWritten, Holding, Store, StoredStatus
from sync.text import counted, printable, shortened

_DIGITS = 12  # of a digest: enough to name a plan
_FEW = 3  # objects that are named in a line


@click.command(short_help="Show the state of each cluster and source.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def status(context: Context, output: str) -> int:
    """Show each cluster and source: last success, lease holder, open intents and approvals."""
    settings = context.settings()
    with context.recorded() as store:
        names = [cluster.name for cluster in settings.clusters]
        document = _document(
            store, names, [source.name for source in settings.sources], store.standings()
        )
        document["unconfigured"] = unconfigured(store, settings)
    with until_closed():
        if output == "json":
            print_json(document)
        else:
            _print(document)
    return 0


def _document(
    store: Store, clusters: list[str], sources: list[str], standings: list[StoredStatus]
) -> dict[str, Any]:
    stand = {(each.kind, each.name): each for each in standings}
    leases = {each.name: each for each in store.leases() if each.seconds > 0}
    service = store.service()
    # Without an approval, a blocked plan is obsolete once the cluster is no longer blocked.
    approvals = [
        each
        for each in store.approvals()
        if each.approved or _state(stand, each.cluster) == "blocked"
    ]
    return {
        "clusters": [
            {
                **_cluster(stand.get(("cluster", name)), name, store.half_written(name), service),
                "holder": leases[name].holder if name in leases else None,
                "held_since": (leases[name].since or None) if name in leases else None,
                "lease_seconds": leases[name].seconds if name in leases else None,
                "clock_was_ahead": name in leases and leases[name].ahead,
                "objects": len(store.digests(name)),
                "open_intents": len(store.open_intents(name)),
                "approvals": [_approval(each) for each in approvals if each.cluster == name],
                "adoptions": [_adoption(each) for each in store.asked_adoptions(name)],
            }
            for name in clusters
        ],
        "sources": [_standing(stand.get(("source", name)), name) for name in sources],
        "service": _service(service),
    }


def _service(found: Holding | None) -> dict[str, Any]:
    """Return the service's state; a `silent` one stopped writing without a clean shutdown."""
    if not found or found.released:
        state = "ended" if found else "never ran"
    else:
        state = "runs" if found.seconds else "silent"
    return {
        "state": state,
        "holder": found.holder if found else None,
        "last_write": (found.since or None) if found else None,
    }


def _cluster(
    found: StoredStatus | None, name: str, half: HalfWritten | None, service: Holding | None
) -> dict[str, Any]:
    """Return the state of a cluster; the trail shows that it is half-written after a kill too.

    The detail of the last sync stays if it is newer than the first write. What a service noted
    before it became silent does not count as current: later syncs may have failed.
    """
    known = _standing(found, name)
    silent = service and not service.released and not service.seconds
    if found and service and silent and found.attempted <= service.since:
        known["state"] = "failed"
        known["detail"] = (
            f"the service has not written to the store since {service.since}; the last state in "
            f"the store: {': '.join(filter(None, (found.state, found.detail)))}"
        )
    # A partly blocked plan is written in whole steps, and its state names what it waits for.
    if half and not (found and found.state == "blocked" and found.attempted >= half.since):
        known["state"] = "half-written"
        if not found or found.attempted < half.since:
            known["detail"] = "no sync has completed since, or one is writing now"
    return {**known, "half_written": half.document() if half else None}


def _state(stand: Mapping[tuple[str, str], StoredStatus], cluster: str) -> str:
    found = stand.get(("cluster", cluster))
    return found.state if found else ""


def _approval(found: Approval) -> dict[str, Any]:
    return {
        "plan": found.plan,
        "summary": found.summary,
        "guards": found.guards.split(", "),
        "because": found.because,
        "blocked": found.blocked,
        "approved": found.approved or None,
        "approved_by": found.approved_by or None,
        "expires": found.expires or None,
    }


def _adoption(found: Asked) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "name": found.name,
        "asked_by": found.asked_by,
        "expires": found.expires,
    }


def _standing(found: StoredStatus | None, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": found.state if found else "never synced",
        "attempted": (found.attempted or None) if found else None,
        "succeeded": (found.succeeded or None) if found else None,
        "detail": found.detail if found else "",
    }


def _print(document: dict[str, Any]) -> None:
    for cluster in document["clusters"]:
        half = cluster["half_written"]
        since = f" since {half['since']}" if half else ""
        _say(f"Cluster {cluster['name']}: {cluster['state']}{since}", cluster["detail"])
        if half:
            unwritten = [
                f"{each['kind']} {each['name']}: {each['error']}" for each in half["unwritten"]
            ]
            _say("  written since then", counted(half["written"], "object"))
            _say("  not known to be written", _first(unwritten) or "none")
        _say("  last success", cluster["succeeded"] or "never")
        _say("  last attempt", cluster["attempted"] or "never")
        _say(
            "  kept by",
            cluster["holder"] or "no process; run `zonebridge sync` or `zonebridge run`",
        )
        if cluster["held_since"]:
            _say("  kept since", _kept_since(cluster))
        _say("  objects", str(cluster["objects"]))
        if cluster["open_intents"]:
            _say("  open intents", f"{cluster['open_intents']}, closed by the next sync")
        _print_asked(cluster)
    for sentence in sentences(document["unconfigured"]):
        _say(f"C{sentence[1:]}", "")
    for source in document["sources"]:
        _say(f"Source {source['name']}: {source['state']}", source["detail"])
        _say("  last success", source["succeeded"] or "never")
        _say("  last attempt", source["attempted"] or "never")

    service = document["service"]
    if service["state"] == "silent":
        _say(
            f"Service: silent since {service['last_write']}",
            f"{service['holder']} was killed, or the store is full, locked or read-only; see its "
            "log and /readyz",
        )


def _print_asked(cluster: dict[str, Any]) -> None:
    """Print what waits for an approval, and what operators let the next sync do."""
    for found in cluster["approvals"]:
        plan = f"{found['plan'][:_DIGITS]} ({found['summary']}; {', '.join(found['guards'])})"
        if found["approved"]:
            by = f"by {found['approved_by']}, for a sync before {found['expires']}"
            # Approvals are in the order in which their plans were blocked.
            other = "" if found is cluster["approvals"][-1] else "; another plan is blocked now"
            _say("  approved", f"{plan} {by}{other}")
        else:
            digits = found["plan"][:_DIGITS]
            _say("  waits for approval", f"{plan}; run `zonebridge approve {digits}`")
    for found in cluster["adoptions"]:
        _say(
            "  to be taken over",
            f"{found['kind']} {found['name']} by a sync before {found['expires']}, unless it "
            f"was changed since it was adopted by {found['asked_by']}",
        )


def _first(unwritten: Sequence[str]) -> str:
    """Render the number of objects and the first few of them."""
    if len(unwritten) <= _FEW:
        return shortened(unwritten)
    shown = shortened([*unwritten[:_FEW], f"and {len(unwritten) - _FEW:,} more"])
    return f"{counted(len(unwritten), 'object')} (--output json has all): {shown}"


def _kept_since(cluster: dict[str, Any]) -> str:
    since: str = cluster["held_since"]
    if not cluster["clock_was_ahead"]:
        return since
    return (
        f"{since}; the lease ends in {cluster['lease_seconds']:.0f} s by the database, whose clock "
        "was ahead: a waiting process takes it once it is not renewed"
    )


def _say(what: str, value: str) -> None:
    click.echo(fitted(printable(f"{what}: {value}" if value else what)))
