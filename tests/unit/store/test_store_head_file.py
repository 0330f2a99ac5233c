"""Publishing the heads to a file."""

from pathlib import Path

import pytest

from sync.store.head_file import publish_heads
from tests.disk import recorded, require_lasting
from tests.unit.store.words import apply, create, group, new_store, ticking


def test_published_heads_outlast_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older file would let a store go that has lost what was published."""
    file = tmp_path / "heads"
    with new_store(tmp_path / "store.db", clock=ticking()) as store:
        for name in ("web", "db"):
            apply(store.run("test"), "eu", create(group(name, "10.0.0.0/8")))
            with monkeypatch.context() as patched:
                asked = recorded(patched)
                publish_heads(store, file)
            expected = "".join(f"{head}\n" for head in store.heads() if head.sequence)
            require_lasting(asked, file, expected.encode())
