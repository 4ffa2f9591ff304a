"""Runs whose model costs nothing, or what it is told to: what is left is daflow's own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import LocalCluster
from side_by_side.contest import cpu_of_the_family

from daflow.assemble.driving.launch import drive
from daflow.assemble.folder import RunFolder, make_run
from daflow.config.load import to_json, workflow_from

MODEL = """
import time
import numpy as np

N_OBS = {n_obs}

def observables():
    return {{
        "name": np.array([f"obs {{i}}" for i in range(N_OBS)]),
        "kind": np.array(["level"] * N_OBS),
        "time": np.arange(float(N_OBS)),
    }}

def forecast(parameters, observations, seed):
    time.sleep({seconds})
    return {predicted}
"""
"""Takes so long, as one that waits for a simulator; predicts from its parameters, or from nothing unread."""

FROM_PARAMETERS = 'parameters["level"][:: len(parameters["level"]) // N_OBS][:N_OBS]'
FROM_NOTHING = "np.random.default_rng(seed).standard_normal(N_OBS)"


def workflow(folder: Path, **given: Any) -> Mapping[str, Any]:
    """Return a workflow of one variable along a line, and write its model into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"n_obs": 100, "seconds": 0.0, "predicted": FROM_NOTHING}
    told |= {name: given.pop(name) for name in list(given) if name in told}
    (folder / "bench_model.py").write_text(MODEL.format(**told))
    values = {
        "name": "bench",
        "seed": 1,
        "ensemble": {"size": given.pop("n_members")},
        "grids": {"line": {"shape": [given.pop("n_state")], "dims": ["cell"], "axes": ["x"]}},
        "parameters": {"level": {"grid": "line", "prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}},
        "model": {
            "kind": "callable",
            "function": "bench_model:forecast",
            "observables": "bench_model:observables",
        },
        "observations": {"kind": "twin", "error": {"default": {"absolute": 0.5}}},
        "method": {"kind": "es_mda", "steps": 1},
        "execution": {"kind": "local", "workers": 2},
    }
    return values | given


def made(folder: Path, **given: Any) -> RunFolder:
    """Make a run in a folder of its own in that folder."""
    settings = workflow_from(workflow(folder, **given), folder)
    return make_run(settings, folder / "run", to_json(settings))


@contextmanager
def workers(*, small: bool) -> Iterator[Mapping[str, Any]]:
    """Yield the section ``execution``: two processes, or where things are only run through, two threads."""
    if not small:
        yield {"kind": "local", "workers": 2}
        return
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield {"kind": "address", "address": cluster.scheduler_address}


class SettledError(Exception):
    """The stage that was to be measured is settled: the rest of the run is not asked for."""


class Stages:
    """When each stage of a run was settled, by the clock and by the processors: a watcher of its facts.

    Parameters
    ----------
    last
        After this stage the run is laid down, as if its driver had been killed.
    """

    def __init__(self, last: tuple[str, int] | None = None) -> None:
        self._last = last
        self.settled: dict[tuple[str, int], tuple[float, float]] = {}

    def __call__(self, fact: Mapping[str, Any], progress: object) -> None:
        """Take a fact in."""
        if fact["fact"] != "closed":
            return
        stage = fact["phase"], fact["step"]
        self.settled[stage] = time.perf_counter(), cpu_of_the_family()
        if stage == self._last:
            raise SettledError

    def drive(self, run: RunFolder) -> None:
        """Drive a run up to the last stage that is asked for."""
        with suppress(SettledError):
            drive(run, self).check(run.folder)

    def between(self, before: tuple[str, int], after: tuple[str, int]) -> dict[str, float]:
        """Return wall and processor seconds from the settling of one stage to that of another."""
        first, last = self.settled[before], self.settled[after]
        return {"wall": last[0] - first[0], "cpu": last[1] - first[1]}
