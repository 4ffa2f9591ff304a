"""A dask scheduler and workers that somebody else started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import daflow
from tests.end_to_end.small_run import (
    CALLABLE,
    RING,
    WELL,
    assert_same_bits,
    command,
    finals,
    run_inline,
    written,
)

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def scheduler(place: Path, *options: str) -> Iterator[str]:
    """Yield the address of a scheduler on this machine with two workers."""
    told = place / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
        "cwd": place,
    }
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told)]
    processes = [subprocess.Popen([*dask, "scheduler", *words], **quiet)]
    try:
        # It is not written at one stroke: it may be there and empty.
        while not (told.exists() and told.read_text().endswith("\n}")):
            assert processes[0].poll() is None
            time.sleep(0.05)
        named = ["--scheduler-file", str(told), "--host", "127.0.0.1", "--no-dashboard", "--nworkers", "2"]
        processes.append(subprocess.Popen([*dask, "worker", *named, *options], **quiet))
        address = told.read_text().partition('"address": "')[2].partition('"')[0]
        assert address.startswith("tcp://127.0.0.1:")
        yield address
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def elsewhere(address: str) -> str:
    return f"execution={{kind: address, address: '{address}'}}"


def test_that_workers_of_an_existing_scheduler_do_the_same_bits(place):
    workflow = written(place, RING)
    with scheduler(place, "--nthreads", "1") as address:
        ended = command("run", workflow, "--run", place / "run", "--set", elsewhere(address))
        assert ended.returncode == 0, ended.stderr
        again = command("run", workflow, "--run", place / "again", "--set", elsewhere(address))
        assert again.returncode == 0, "a scheduler outlives the run that used it"
    reference = finals(run_inline(workflow, place / "reference"))
    for name in ("run", "again"):
        assert_same_bits(finals(daflow.open_run(place / name)), reference)


def test_that_a_time_limit_is_refused_where_workers_have_several_threads(place):
    workflow = written(place, CALLABLE + "policy: {timeout: 60}\n", WELL)
    with scheduler(place, "--nthreads", "2") as address:
        ended = command("run", workflow, "--run", place / "run", "--set", elsewhere(address))
    assert ended.returncode == 2
    assert "policy.timeout" in ended.stderr
    assert "--nthreads 1" in ended.stderr


def test_that_a_scheduler_that_is_not_there_is_told(place):
    workflow = written(place, RING)
    # Nobody listens on port 9 of the loopback (discard).
    ended = command("run", workflow, "--run", place / "run", "--set", elsewhere("tcp://127.0.0.1:9"))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    for words in ("execution.address", "tcp://127.0.0.1:9", "dask scheduler"):
        assert words in ended.stderr
    assert len(ended.stderr.splitlines()) <= 25
    assert daflow.open_run(place / "run").status().resumable
    mended = command("resume", place / "run", "--set", "execution={kind: local, workers: 1}")
    assert mended.returncode == 0, mended.stderr
