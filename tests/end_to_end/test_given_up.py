"""A worker that was given up and then goes on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

import daflow
from daflow.execution.clusters.dask_clusters import SETTINGS
from daflow.names import Status
from daflow.runs.journal import read_journal
from daflow.storage.files import PARTIAL
from daflow.storage.receipts import read_receipts
from tests.end_to_end.small_run import CALLABLE, assert_same_bits, finals, run_by_workers, run_inline, written

pytestmark = pytest.mark.slow

TWICE = """
import os
import time
from pathlib import Path

HERE = Path(__file__).parent

def forecast(parameters, observations, member, step):
    answer = parameters["level"][:3] ** 2 + parameters["level"][4:7]
    if (member, step) == (3, 0) and not (HERE / "first").exists():
        (HERE / "partial").write_text(str(os.getpid()))
        (HERE / "partial").rename(HERE / "first")
        while not (HERE / "go").exists():
            time.sleep(0.02)
        return answer + 1
    return answer
"""
"""The first to come to member 3 hangs; what it says in the end is not what the others say."""


def held(folder: Path) -> dict[str, str]:
    """Return what is in all files of a run that say what it came to."""
    places = ("ensemble.zarr", "journal.jsonl")
    files = (path for place in places for path in (folder / place, *(folder / place).rglob("*")))
    return {
        str(path): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and not path.name.endswith(PARTIAL)
    }


def until(path: Path) -> str:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path.read_text()


def test_that_what_a_worker_says_that_was_given_up_changes_nothing(tmp_path):
    workflow = written(tmp_path, CALLABLE, TWICE)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    jobs = []
    with (
        dask.config.set(SETTINGS | {"distributed.scheduler.worker-ttl": "5s"}),
        LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
        ) as cluster,
    ):
        # Without a nanny, which would end one that hangs: as if the whole host had stood still.
        words = [cluster.scheduler_address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name"]
        dask_worker = [sys.executable, "-m", "distributed.cli.dask_worker", *words]
        try:
            jobs = [subprocess.Popen([*dask_worker, name], cwd=tmp_path, **quiet) for name in ("a", "b")]
            where = f"execution={{kind: address, address: '{cluster.scheduler_address}'}}"
            driver = threading.Thread(target=run_by_workers, args=(workflow, tmp_path / "run", where))
            driver.start()
            stopped = int(until(tmp_path / "first"))
            os.kill(stopped, signal.SIGSTOP)
            driver.join(timeout=180)
            assert not driver.is_alive()
            before, receipts = held(tmp_path / "run"), list(read_receipts(tmp_path / "run" / "receipts"))
            (tmp_path / "go").touch()
            os.kill(stopped, signal.SIGCONT)
            # Cut off from its scheduler it ends, once it is done with what it was at.
            (job,) = (job for job in jobs if job.pid == stopped)
            job.wait(timeout=60)
        finally:
            for job in jobs:
                job.kill()
                job.wait()
    run = tmp_path / "run"
    ended = [fact for fact in read_journal(run / "journal.jsonl") if fact["fact"] == "ended"]
    of_it = [f["status"] for f in ended if (f["phase"], f["step"], f["index"]) == ("forecast", 0, 3)]
    assert of_it == [Status.LOST, Status.OK]
    assert held(run) == before
    assert list(read_receipts(run / "receipts")) == receipts
    reference = run_inline(workflow, tmp_path / "reference")
    assert_same_bits(finals(daflow.open_run(run)), finals(reference))
