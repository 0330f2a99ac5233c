"""`make demo`: the main job on the demo company, from nothing, and what each command prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build" / "demo"
COMMAND = Path(sys.executable).with_name("zonebridge")


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


if __name__ == "__main__":
    main()
