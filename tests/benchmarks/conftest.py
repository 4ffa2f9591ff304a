"""Where the cases of the benchmarks run, how large, and what is recorded with their figures."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from side_by_side.machine import disk_of, machine

FOLDER = os.environ.get("FOLDER") or None
"""A folder on the disk that is to be measured; default: the system's for temporary files."""


@pytest.fixture
def place(benchmark):
    """Yield a folder for a case's files: on the disk when measured, in memory when only run through."""
    memory = "/dev/shm" if benchmark.disabled and os.access("/dev/shm", os.W_OK) else FOLDER  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="daflow-bench-", dir=memory))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tell():
    """Return what writes a line of progress."""
    return lambda line: sys.stderr.write(f"{line}\n")


def pytest_benchmark_update_machine_info(config, machine_info):
    """Record our own words about the machine: processor, memory, BLAS, disk, versions."""
    machine_info.clear()
    machine_info.update(machine())
    machine_info["disk"] = disk_of(Path(FOLDER or tempfile.gettempdir()))
    machine_info["date"] = dt.datetime.now(dt.UTC).date().isoformat()
