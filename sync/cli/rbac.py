"""`zonebridge rbac`: what to grant zonebridge in a cluster, as manifests to apply there."""

import re
from collections.abc import Sequence

import click
import yaml

from sync.cli.context import Context, checked, print_json, until_closed
from sync.clusters.kubernetes.rights import Grantee, admission_policies, rights
from sync.errors import UsageError
from sync.settings import Settings

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_ACCOUNT = re.compile(rf"({_LABEL})/((?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*)")


@click.command(short_help="Print what to grant zonebridge in a cluster.")
@click.option("--cluster", required=True, help="The cluster of the configuration.")
@click.option(
    "--service-account",
    "account",
    default="zonebridge/zonebridge",
    show_default=True,
    metavar="NAMESPACE/NAME",
    help="The service account that gets the rights.",
)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    metavar="NAME",
    help="A tier besides the configured ones, whose objects may be removed; repeatable.",
)
@click.option(
    "--read-only",
    is_flag=True,
    help="Grant no writes: for `zonebridge run` with workers, and for `plan`.",
)
@click.option("--no-admission-policies", is_flag=True, help="Print the RBAC objects only.")
@click.option(
    "--allow-adoption", is_flag=True, help="Let it take over objects without an owner's labels."
)
@click.option(
    "--exempt-user",
    "users",
    multiple=True,
    metavar="NAME",
    help="A user who may also set its labels; repeatable.",
)
@click.option(
    "--exempt-group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="A group that may also set its labels; repeatable.",
)
@click.option("--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@click.pass_obj
def rbac(  # over 50 lines: a third are its options
    context: Context,
    *,
    cluster: str,
    account: str,
    tiers: Sequence[str],
    read_only: bool,
    no_admission_policies: bool,
    allow_adoption: bool,
    users: Sequence[str],
    groups: Sequence[str],
    output: str,
) -> None:
    """Print what to grant zonebridge in a cluster, to apply there with kubectl.

    Prints a service account, its rights, and admission policies that restrict it to its tiers and
    its own objects, and keep others from setting its labels on sets. No cluster is contacted.
    """
    named = _ACCOUNT.fullmatch(account)
    if named is None:
        raise UsageError(
            f"--service-account is {account!r}; give the namespace and the name of a service "
            "account: NAMESPACE/NAME"
        )
    for tier in tiers:
        if not re.fullmatch(_LABEL, tier):
            raise UsageError(f"--tier is {tier!r}; give the name of a tier, without its policies")
    if read_only and (tiers or allow_adoption or users or groups):
        raise UsageError(
            "--read-only grants no write: leave --tier, --allow-adoption, --exempt-user and "
            "--exempt-group to the account that writes"
        )
    settings = checked(context.settings(), [cluster])
    grantee = Grantee(
        namespace=named[1],
        account=named[2],
        instance=settings.instance,
        tiers=_tiers(settings, cluster, tiers),
        zone_label=settings.zones.label,
        adoption=allow_adoption,
        exempt_users=tuple(users),
        exempt_groups=tuple(groups),
        writes=not read_only,
    )
    documents = rights(grantee) + ([] if no_admission_policies else admission_policies(grantee))
    with until_closed():
        if output == "json":
            whole = {"apiVersion": "v1", "kind": "List", "items": documents}
            print_json(whole)
        else:
            click.echo(yaml.safe_dump_all(documents, sort_keys=False, width=100), nl=False)


def _tiers(settings: Settings, name: str, more: Sequence[str]) -> tuple[str, ...]:
    """Return the tiers of a cluster; `UsageError` for a directory, which needs no rights."""
    [cluster] = [each for each in settings.clusters if each.name == name]
    if cluster.kind != "kubernetes":
        raise UsageError(
            f"cluster {name} is a directory of manifests, which needs no rights; name a cluster of "
            "kind kubernetes"
        )
    return tuple(dict.fromkeys([*(each.tier for each in cluster.device_groups), *more]))
