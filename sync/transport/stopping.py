"""A request to end: it wakes threads that wait, and cuts reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Stopping(Event):
    """An event that also calls back, once, those who cannot wait for it: they read an answer."""

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

        It is called from whatever thread sets the event, and must neither raise nor wait.
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
