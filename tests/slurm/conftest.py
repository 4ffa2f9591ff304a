"""A Slurm for the tests here, and folders for their runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import _ended, place
from tests.slurm import start_slurm
from tests.slurm.start_slurm import Slurm

__all__ = ["_ended", "place"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those that wait for Slurm's clock be begun early, each by a process of its own.

    Tests are dealt out to processes in as many stretches: one begins the first, one that of the middle.
    """
    long = [item for item in items if item.path.name == "test_walltime.py"]
    others = [item for item in items if item not in long]
    middle = len(others) // 2
    items[:] = [*long[:1], *others[:middle], *long[1:], *others[middle:]]


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """Yield a Slurm that runs; ``sbatch`` and all the others speak to it while tests of this session last."""
    missing = start_slurm.missing()
    if missing:
        pytest.skip(
            f"no Slurm here: {', '.join(missing)} not installed; .ci/run installs it for root on Debian"
        )
    with tempfile.TemporaryDirectory(prefix="daflow-slurm-") as folder, pytest.MonkeyPatch.context() as patch:
        running = start_slurm.start(Path(folder) / "slurm")
        patch.setenv("SLURM_CONF", str(running.configuration))
        patch.setenv("PATH", start_slurm.PLACES)
        try:
            yield running
        finally:
            start_slurm.stop(running.folder)
