"""Where small runs are made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.small_run import STARTED

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets: syncs are free there


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder for a test's runs, in memory where there is such a disk."""
    with tempfile.TemporaryDirectory(prefix="daflow-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def shared_place() -> Iterator[Path]:
    """Yield a folder for the runs that a module's tests share."""
    with tempfile.TemporaryDirectory(prefix="daflow-test-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """End what a test that failed has left running: its pipes would be blamed on a later test."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()
