"""Reading configurations again and again leaves the garbage collector everything it can free."""

import gc
import weakref

from sync.firewall.parse.configuration import read_configuration
from sync.firewall.parse.document import parse
from tests.words import document, group


class Circle:
    """An object that only the collector frees, as clients and devices of libraries are."""

    def __init__(self) -> None:
        self.itself = self


def test_garbage_of_between_two_reads_is_freed() -> None:
    config = parse(document(shared=[group("web")]), "document")
    circles = []
    for _ in range(3):
        circles.append(weakref.ref(Circle()))
        read_configuration(config)
    gc.collect()
    assert [each() for each in circles] == [None, None, None]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    config = parse(document(shared=[group("web")]), "document")
    gc.disable()
    try:
        read_configuration(config)
        assert not gc.isenabled()
    finally:
        gc.enable()
