"""What all tests share: where the samples are, and hypothesis profiles that never flake on time."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from zonebridge_simulator.authority import Authority

pytest_plugins = [
    "tests.data_plane",
    "tests.image.unpacked",
    "tests.kubernetes_cluster",
    "tests.postgresql",
]

ROOT = Path(__file__).parent.parent

# No proxy of the developer's stands between tests and what they start.
for name in ("HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)
    os.environ.pop(name.lower(), None)

# Time on a shared machine says nothing: no deadlines. In CI the same examples come every time.
settings.register_profile(
    "zonebridge",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
# `make unit` asks for this one: what comes back within a minute, `make test` searches further.
settings.register_profile("quick", settings.get_profile("zonebridge"), max_examples=20)
settings.load_profile("zonebridge")


def pytest_collection_finish() -> None:
    """Thousands of tests and all modules stay until the end: no collection looks at them again."""
    gc.collect()
    gc.freeze()


def samples() -> list[Path]:
    """Panorama configurations to read: those of `PANORAMA_SAMPLES`, else a small one of our own."""
    given = os.environ.get("PANORAMA_SAMPLES")
    folder = Path(given) if given else ROOT.parent / "shared" / "panorama"
    found = sorted(folder.glob("*.xml")) if folder.is_dir() else []
    if given and not found:
        pytest.fail(f"PANORAMA_SAMPLES names {given}, which holds no .xml files")
    return [*found, ROOT / "config" / "demo" / "panorama.xml"]


@pytest.fixture
def demo() -> Path:
    """The demo company's configuration."""
    return ROOT / "config" / "demo"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all simulators of a test process."""
    return Authority.make(tmp_path_factory.mktemp("authority"))
