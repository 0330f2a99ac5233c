"""Being asked to end: threads that wait wake up, and reads are cut."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Stopping(Event):
    """An event that also calls back, once, for threads that read an answer and cannot wait."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Callable[[], None]] = []
        self._calling = Lock()

    def set(self) -> None:
        super().set()
        with self._calling:
            calls, self._calls = self._calls, []
        for call in calls:
            call()

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Have `call` called when the event is set, as long as the block lasts; at once if it is.

        It is called from the thread that sets the event, and must neither raise nor wait.
        """
        with self._calling:
            self._calls.append(call)
        if self.is_set():
            call()
        try:
            yield
        finally:
            with self._calling:
                if call in self._calls:
                    self._calls.remove(call)
