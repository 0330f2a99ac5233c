"""Examples for the help of each command; tests parse every one of them."""

from collections.abc import Mapping, Sequence
from typing import Final

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "": ("zonebridge config init --source export.xml", "zonebridge plan", "zonebridge sync"),
    "adopt": ("zonebridge adopt GlobalNetworkSet pan.web --cluster prod-eu",),
    "approve": ("zonebridge approve 3fa9c1d27b04",),
    "audit": ("zonebridge audit list --since 1h", "zonebridge audit show prod-eu:17"),
    "audit export": ("zonebridge audit export --since 2026-03-01 > march.jsonl",),
    "audit list": (
        "zonebridge audit list --since 1h --cluster prod-eu",
        "zonebridge audit list --rule 'web to db' --limit 20",
    ),
    "audit show": (
        "zonebridge audit show prod-eu:17",
        "zonebridge audit show --at 30m --cluster prod-eu",
    ),
    "audit verify": ("zonebridge audit verify --head heads.txt",),
    "config": ("zonebridge config init --source export.xml", "zonebridge config check"),
    "config check": ("zonebridge config check --config prod.yaml",),
    "config init": ("zonebridge config init --source export.xml --device-group dg-eu",),
    "config schema": ("zonebridge config schema > zonebridge.schema.json",),
    "db": ("zonebridge db check", "zonebridge db upgrade"),
    "db check": ("zonebridge db check",),
    "db upgrade": ("zonebridge db upgrade",),
    "explain": (
        "zonebridge explain --from web --to db --port 5432/tcp",
        "zonebridge explain --from web@10.244.1.7 --to 10.3.0.9 --port 443/tcp --live",
        "zonebridge explain --from web --to 10.20.40.10 --port 23/tcp --why-not",
    ),
    "forget": ("zonebridge forget old-cluster",),
    "plan": (
        "zonebridge plan --cluster prod-eu --verbose",
        "zonebridge plan --from running-config.xml --to edited.xml --flows",
        "zonebridge plan --output json > plan.json",
        "zonebridge plan --from plan.json --output markdown --detailed-exitcode",
    ),
    "rbac": ("zonebridge rbac --cluster prod-eu | kubectl apply -f -",),
    "report": (
        "zonebridge report --cluster prod-eu --output html > report.html",
        "zonebridge report --rule 'web to db' --verbose",
        "zonebridge report --diff running-config.xml edited.xml",
    ),
    "run": ("zonebridge run --config /etc/zonebridge/zonebridge.yaml",),
    "status": ("zonebridge status --output json",),
    "sync": (
        "zonebridge sync --yes",
        "zonebridge sync --plan plan.json",
        "zonebridge sync --cluster prod-eu --lease-timeout 1m",
    ),
    "verify": ("zonebridge verify --cluster prod-eu", "zonebridge verify --live"),
    "which": ("zonebridge which 10.1.2.3", "zonebridge which 10.1.0.0/16 --cluster prod-eu"),
    "worker": ("zonebridge worker --slots 4",),
    "zones": ("zonebridge zones --cluster prod-eu",),
}
"""By the words of the command, "" for zonebridge itself."""
