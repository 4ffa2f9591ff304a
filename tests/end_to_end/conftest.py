"""Where small runs are made."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.small_run import STARTED

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - no secrets: syncs are free there

LONGEST = (
    "test_kills.py",
    "test_failures.py",
    "test_driving.py",
    "test_existing_scheduler.py",
    "test_egg.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: nothing is left to run beside what is begun last."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


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
def _ended(place: Path) -> Iterator[None]:
    """End what a test that failed has left running: its pipes would be blamed on a later test."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            if process.poll() is None:
                # Its workers hold the pipe as well.
                os.killpg(process.pid, signal.SIGKILL)
