"""What ends a process: noted at once, whichever thread the system gave it to."""

import signal
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
