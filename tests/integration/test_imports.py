"""What a process of the program imports."""

import subprocess
import sys


def test_nothing_of_opentelemetry_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, sync.reconcile.cycle, sync.cli.run, sync.service.service\n"
        "from sync.tracing import step, tracing\n"
        "with tracing({}, '1'), step('plan'): pass\n"
        "sys.exit(any(each.startswith('opentelemetry') for each in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
