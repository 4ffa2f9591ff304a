"""A Slurm for the tests here, and folders for their runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm import start_slurm
from tests.slurm.start_slurm import Slurm


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with those that wait for Slurm's clock, while others run beside them."""
    items.sort(key=lambda item: item.path != Path(__file__).with_name("test_walltime.py"))


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


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder for a test's runs, in memory where there is such a disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets
    with tempfile.TemporaryDirectory(prefix="daflow-test-", dir=memory) as folder:
        yield Path(folder)
