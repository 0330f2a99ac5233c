"""What ends a process: noted at once, whichever thread the system gave it to."""

import signal
import subprocess
import sys
import threading

import pytest

from sync.cli.signals import signals

SECONDS = 120


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_got_is_noted_while_the_main_one_waits(
    number: signal.Signals,
) -> None:
    with signals() as asked:
        assert asked.exit_code == 0
        threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), number)).start()
        assert asked.stopping.wait(SECONDS)
        assert asked.exit_code == 128 + number


def test_what_does_not_come_to_its_end_is_left() -> None:
    script = (
        "import os, signal, threading\n"
        "from sync.cli import signals\n"
        "signals.END_SECONDS = 0.05\n"
        "with signals.signals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    threading.Event().wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert b"shutdown was cut short" in done.stdout + done.stderr


def test_other_signals_end_nothing_and_all_is_as_before_afterwards() -> None:
    usual = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGTERM)
    got = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: got.set())
    try:
        with signals() as asked:
            signal.raise_signal(signal.SIGUSR1)
            assert got.wait(SECONDS)
            signal.raise_signal(signal.SIGTERM)
            assert asked.stopping.wait(SECONDS)
            assert asked.received == signal.SIGTERM
    finally:
        signal.signal(signal.SIGUSR1, usual[0])
    assert signal.getsignal(signal.SIGTERM) == usual[1]
    assert signal.set_wakeup_fd(-1) == -1
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_a_hangup_is_passed_on_and_ends_nothing_where_somebody_listens() -> None:
    usual = signal.getsignal(signal.SIGHUP)
    asked = threading.Event()
    with signals(asked.set) as received:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
            assert asked.wait(SECONDS)
            asked.clear()
        assert (received.received, received.stopping.is_set()) == (0, False)
    assert signal.getsignal(signal.SIGHUP) == usual
    with signals():
        assert signal.getsignal(signal.SIGHUP) == usual
