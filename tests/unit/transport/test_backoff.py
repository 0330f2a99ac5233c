"""How long is waited between tries."""

import pytest

from sync.transport.backoff import Backoff, grown, jittered


def test_each_wait_is_longer_up_to_the_longest_and_none_is_under_half() -> None:
    for _ in range(50):
        backoff = Backoff(1, 10)
        for full in (1, 2, 4, 8, 10, 10):
            assert full / 2 <= backoff.wait() <= full


def test_clients_that_failed_together_do_not_wait_alike() -> None:
    assert len({Backoff(1, 10).wait() for _ in range(50)}) == 50


def test_a_server_that_asks_for_more_is_given_more() -> None:
    assert jittered(1, retry_after=7) == 7
    assert jittered(10, retry_after=1) >= 5
    assert Backoff(1, 10).wait(7) == 7


def test_what_a_server_asked_for_once_does_not_lengthen_the_next_waits() -> None:
    backoff = Backoff(1, 10)
    backoff.wait(9)
    assert backoff.wait() <= 2


def test_after_a_success_the_waits_begin_again() -> None:
    backoff = Backoff(1, 10)
    for _ in range(5):
        backoff.wait()
    backoff.reset()
    assert backoff.wait() <= 1


@pytest.mark.parametrize("failures", [10, 10_000])
def test_any_number_of_failures_waits_for_the_longest(failures: int) -> None:
    assert grown(1, 60, failures) == 60


def test_a_wait_grows_by_its_factor() -> None:
    assert [grown(0.5, 30, failures, factor=4) for failures in range(4)] == [0.5, 2, 8, 30]
