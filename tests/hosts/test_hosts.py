"""Workers on hosts of their own, whose links are cut: the run ends with the same bits, in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import daflow
from daflow.assemble.folder import make_run
from daflow.config.load import load_workflow
from daflow.execution.clusters.dask_clusters import SETTINGS
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import CALLABLE, assert_same_bits, finals, run_inline, written
from tests.hosts.hosts import Host, network, why_not, words_of

NO_HOSTS = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(NO_HOSTS), reason=NO_HOSTS)]

SILENCE_SECONDS = 12
"""After so long these tests' scheduler calls a connection dead; daflow's own says 30 s."""
BOUND_SECONDS = 240
"""A run of some ten seconds that has lost hosts ends within this, on a machine however busy."""
PORT = 8786
SLOW = CALLABLE.replace("size: 12", "size: 16").replace("steps: 2", "steps: 1")
SLOW += "localization: {kind: plugin, function: 'model:weights'}\npolicy: {retries: 5}\n"
MODEL = """
import time

def forecast(parameters, observations):
    time.sleep(0.3)
    return parameters["level"][:3] ** 2 + parameters["level"][4:7]

def weights(points, observations):
    # The analysis takes long enough for something to happen in it.
    time.sleep(1.0)
    return np.full((len(points["x"]), 3), 0.5)
"""
DRIVE = "import sys, daflow; print(daflow.open_run(sys.argv[1]).resume().kind)"


@contextmanager
def scheduler(host: Host, place: Path) -> Iterator[str]:
    """Yield the address of a scheduler on a host."""
    with (place / "scheduler.txt").open("w") as said:
        words = ["--host", host.address, "--port", PORT, "--no-dashboard"]
        _dask(host, said, "scheduler", *words)
        yield f"tcp://{host.address}:{PORT}"


def _dask(host: Host, said: Any, *words: object) -> subprocess.Popen[Any]:
    given = {
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{SILENCE_SECONDS}s",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    }
    command = [sys.executable, "-m", "dask", *words]
    return host.start(*command, env=os.environ | given, stdout=said, stderr=subprocess.STDOUT)


def worker(host: Host, address: str, place: Path) -> subprocess.Popen[Any]:
    """Start a worker on a host, as a batch system would."""
    with (place / f"{host.name}.txt").open("a") as said:
        alone = ["--nthreads", 1, "--no-dashboard", "--local-directory", place / host.name]
        return _dask(host, said, "worker", address, "--host", host.address, *alone)


class Watched:
    """A run that is driven on a host, and its journal."""

    def __init__(self, host: Host, folder: Path, place: Path) -> None:
        self.folder, self._place = folder, place
        with (place / "driver.txt").open("w") as said:
            command = [sys.executable, "-c", DRIVE, folder]
            self._driver = host.start(*command, stdout=said, stderr=subprocess.STDOUT)

    def facts(self) -> list[dict[str, Any]]:
        """Return what the journal says by now."""
        journal = self.folder / "journal.jsonl"
        return [dict(fact) for fact in read_journal(journal)] if journal.exists() else []

    def until(self, seen: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait until the journal says something."""
        end = time.monotonic() + BOUND_SECONDS
        while not seen(self.facts()):
            assert self._driver.poll() is None, words_of(self._place / "driver.txt")
            assert time.monotonic() < end, self.facts()[-3:]
            time.sleep(0.05)

    def end(self) -> None:
        """Wait for the end of the run."""
        self._driver.wait(BOUND_SECONDS)
        assert words_of(self._place / "driver.txt") == "finished\n"


def done(phase: str, n: int, step: int = 0) -> Callable[[list[dict[str, Any]]], bool]:
    """Return what says whether so many tasks of a phase have come home."""

    def seen(facts: list[dict[str, Any]]) -> bool:
        ended = [fact for fact in facts if fact["fact"] == "ended" and fact["status"] == "ok"]
        return sum((fact["phase"], fact["step"]) == (phase, step) for fact in ended) >= n

    return seen


def test_that_links_that_are_cut_in_forecast_and_analysis_change_no_bit(place):
    with network(4) as (head, stays, first, second), scheduler(head, place) as address:
        for host in (stays, first, second):
            worker(host, address, place)
        workflow = written(place, f"{SLOW}execution: {{kind: address, address: '{address}'}}\n", MODEL)
        made = make_run(load_workflow(workflow), place / "run", workflow.read_text())
        run = Watched(head, made.folder, place)
        run.until(done("forecast", 4))
        # For good: what it had under way is done elsewhere.
        first.cut()
        run.until(done("prepare", 1))
        # Until it has been given up: what it says then comes too late.
        second.cut()
        run.until(done("update", 4))
        second.join()
        run.until(done("forecast", 2, step=1))
        # For a moment, which nobody notices: nothing is lost.
        stays.cut()
        time.sleep(2)
        before = len([fact for fact in run.facts() if fact.get("status") == "lost"])
        stays.join()
        run.end()
        facts = run.facts()
    ended = [fact for fact in facts if fact["fact"] == "ended"]
    assert {fact["status"] for fact in ended} <= {"ok", "lost"}
    assert sum(fact["status"] == "lost" for fact in ended) == before
    good = [(fact["phase"], fact["step"], fact["index"]) for fact in ended if fact["status"] == "ok"]
    assert len(good) == len(set(good))
    reference = run_inline(workflow, place / "reference", "execution={kind: local}")
    assert_same_bits(finals(daflow.open_run(made.folder)), finals(reference))


def test_that_a_connection_that_is_silent_is_called_dead_by_daflow_itself_whatever_a_site_says():
    assert SETTINGS["distributed.comm.timeouts.tcp"] == "30s"
