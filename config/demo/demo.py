"""`make demo`: the main job on the demo company, from nothing, and what each command prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "demo"
COMMAND = Path(sys.executable).with_name("zonebridge")


NEXT = (
    "report --cluster prod-eu",
    "zones --cluster prod-eu",
    "explain --from web --to db --port 5432/tcp --cluster prod-eu",
    "which 10.20.40.10 --cluster prod-eu",
    "verify --cluster prod-eu",
    "audit list --since 1h --limit 5",
    "report --output html --cluster prod-eu > report.html",
)
"""What to look at next, as a shell reads it."""


def zonebridge(*arguments: str) -> None:
    """Run one command as a user would, and stop if it fails."""
    print(f"\n$ zonebridge {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "ZONEBRIDGE_CONFIG": str(HERE / "zonebridge.yaml")}
    environment["ZONEBRIDGE_LOG__LEVEL"] = "warning"
    subprocess.run([COMMAND, *arguments], check=True, env=environment)


def main() -> None:
    """Plan, write, look at the trail, and see that a second sync changes nothing."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    zonebridge("sync", "--dry-run", "--cluster", "prod-eu")
    zonebridge("sync", "--yes")
    zonebridge("audit", "list", "--limit", "12")
    zonebridge("audit", "verify")
    zonebridge("plan")
    sets = len(list(BUILD.glob("*/globalnetworkset/*.yaml")))
    policies = len(list(BUILD.glob("*/stagedglobalnetworkpolicy/*.yaml")))
    where = os.path.relpath(BUILD)
    print(f"\n{sets} sets and {policies} policies stand in {where}; nothing is left to change.")
    print("\nTry next:")
    print(f"  export ZONEBRIDGE_CONFIG={os.path.relpath(HERE)}/zonebridge.yaml")
    for line in NEXT:
        print(f"  {os.path.relpath(COMMAND)} {line}")


if __name__ == "__main__":
    main()
