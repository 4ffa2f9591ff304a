"""Random histories of a filter, which goes from cycle to cycle, against the run that nothing disturbed."""

import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ModelFailed
from daflow.names import Status
from daflow.runs import facts
from daflow.runs.driver import Driver
from daflow.runs.facts import fold
from daflow.runs.journal import Journal, read_journal
from daflow.runs.policy import Policy, retries_of
from daflow.storage.memory import MemoryStore
from tests.contracts.toy_cycles import CYCLES, LAYOUT, N_MEMBERS, ToyFilter, plan
from tests.stateful.test_histories import CALM_AFTER, EVENTS, MEMORY, ChaoticPool, DriverDied

POLICY = Policy(retries_of(100), min_members=3)
"""No member is given up because its workers died."""
RATES = st.fixed_dictionaries({event: st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.3]) for event in EVENTS})
PLACES = st.sets(st.tuples(st.integers(0, N_MEMBERS - 1), st.integers(0, len(CYCLES) - 1)), max_size=2)


def session(run, random, rates):
    """Drive for one session; return how it stopped, or nothing if the driver died."""
    path = run.folder / "journal.jsonl"
    progress = fold(read_journal(path))
    done = {(o.task.phase, o.task.step, o.task.index) for o in run.store.receipts() if o.status == Status.OK}
    pool = ChaoticPool(run.bench(), random, rates, path, done)
    with Journal(path) as journal:
        opened = facts.opened({"pid": 1})
        journal.append(opened)
        progress.take(opened)
        workers, watch = lambda: nullcontext(pool), lambda fact, so_far: None
        try:
            return Driver(plan(run.store.layout), POLICY, run.store, workers, journal, progress, watch).run()
        except DriverDied:
            return None


def driven(folder, fails, seed, rates, lag=0):
    store = MemoryStore(replace(LAYOUT, lag=lag))
    run, random = ToyFilter(folder, {place: ModelFailed("no") for place in fails}, store), Random(seed)
    folder.mkdir()
    for number in range(CALM_AFTER + 2):
        stop = session(run, random, rates if number < CALM_AFTER else {})
        if stop is not None and stop.kind == "finished":
            return run
    raise AssertionError(stop)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.integers(0, 2**32), RATES, PLACES, st.integers(0, 3))
def test_that_any_history_of_a_filter_ends_as_the_run_that_nothing_disturbed(seed, rates, fails, lag):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        run = driven(Path(folder) / "disturbed", fails, seed, rates, lag)
        reference = driven(Path(folder) / "reference", fails, 0, {}, lag)
        survivors = fold(read_journal(run.folder / "journal.jsonl")).survivors
        assert survivors == fold(read_journal(reference.folder / "journal.jsonl")).survivors
        for step in range(len(CYCLES)):
            for ours, theirs in (
                (run.store, reference.store),
                (run.store.forecasts, reference.store.forecasts),
                (run.store.smoothed, reference.store.smoothed),
            ):
                assert ours.parameters(step).tobytes() == theirs.parameters(step).tobytes()
            smoothed = np.isfinite(run.store.smoothed.parameters(step)).all(axis=1)
            last = run.store.layout.smoothed_by(step)[-1:]
            assert np.flatnonzero(smoothed).tolist() == [m for s in last for m in run.store.read_survivors(s)]
            assert run.store.predicted(step).tobytes() == reference.store.predicted(step).tobytes()
        last = run.store.parameters(len(CYCLES))
        assert last.tobytes() == reference.store.parameters(len(CYCLES)).tobytes()
        assert np.isfinite(last).all(axis=1).sum() == N_MEMBERS - len({member for member, _ in fails})
