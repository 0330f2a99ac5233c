"""Being asked to end."""

from sync.transport.stopping import Stopping


def test_who_cannot_wait_is_called_once_when_it_is_time_and_not_afterwards() -> None:
    stopping, called = Stopping(), list[str]()
    with stopping.calling(lambda: called.append("over")):
        pass
    with stopping.calling(lambda: called.append("under way")):
        stopping.set()
        stopping.set()
    with stopping.calling(lambda: called.append("late")):
        pass
    assert called == ["under way", "late"]
    assert stopping.wait(600)
