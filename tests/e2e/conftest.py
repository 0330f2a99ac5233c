"""What the end-to-end tests start from: an installation of their own."""

from pathlib import Path

import pytest

from tests.e2e.installation import Installation


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    """A fresh directory with a configuration and a Panorama document, and nothing else."""
    return Installation.in_directory(tmp_path / "place")
