"""Random histories of methods that look first, carry something, end by themselves or go back to the prior."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ModelFailed
from daflow.methods import (
    AcceleratedEki,
    Eki,
    IterativeSmoother,
    LevenbergMarquardt,
    PerturbedUpdate,
    RestrictedEsMda,
)
from daflow.methods.kalman_inversion import plain_targets
from daflow.methods.step_lengths import DiscrepancyLengths
from daflow.names import Phase, Status
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.numerics.observations.perturbations import Perturbations
from daflow.runs import facts
from daflow.runs.decide import Plan
from daflow.runs.driver import Driver
from daflow.runs.facts import fold
from daflow.runs.journal import Journal, read_journal
from daflow.runs.policy import Policy, retries_of
from tests.contracts.toy_run import LAYOUT, N_MEMBERS, SEED, ToyRun
from tests.stateful.test_histories import CALM_AFTER, EVENTS, MEMORY, ChaoticPool, DriverDied

MOST = 6
POLICY = Policy(retries_of(100), min_members=3)
"""No member is given up because its workers died."""
RATES = st.fixed_dictionaries({event: st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.3]) for event in EVENTS})
PLACES = st.sets(st.tuples(st.integers(0, N_MEMBERS - 1), st.integers(0, 2)), max_size=2)


def restricted(source):
    return RestrictedEsMda(MOST, PerturbedUpdate(source), largest=1.6, trials=5)


def nesterov(source):
    return AcceleratedEki(Eki(DiscrepancyLengths(MOST), PerturbedUpdate(source), plain_targets))


def enrml(source):
    return IterativeSmoother(LevenbergMarquardt(MOST, LAYOUT.n_obs, 1e-3, 10.0, 0.1), source)


METHODS = {"restricted": restricted, "nesterov": nesterov, "enrml": enrml}


def plan(kind):
    surveys = kind == "restricted"
    given = tuple(range(N_MEMBERS)), MOST, LAYOUT.n_slices, True
    bare = Plan(*given, {}, surveys)
    return Plan(*given, {stage: f"{stage[0]}{stage[1]}" for stage in bare.stages}, surveys)


def bench(run, kind):
    def made(observations):
        table = observations.table
        error = DiagonalCovariance(table["error_std"] ** 2)
        return METHODS[kind](Perturbations(table["value"], error, SEED))

    return run.bench(make_method=made, keys=plan(kind).keys)


def session(run, kind, random, rates):
    """Drive for one session; return how it stopped, or nothing if the driver died."""
    path = run.folder / "journal.jsonl"
    progress = fold(read_journal(path))
    done = {(o.task.phase, o.task.step, o.task.index) for o in run.store.receipts() if o.status == Status.OK}
    pool = ChaoticPool(bench(run, kind), random, rates, path, done)
    with Journal(path) as journal:
        opened = facts.opened({"pid": 1})
        journal.append(opened)
        progress.take(opened)
        workers, watch = lambda: nullcontext(pool), lambda fact, so_far: None
        try:
            return Driver(plan(kind), POLICY, run.store, workers, journal, progress, watch).run()
        except DriverDied:
            return None


def driven(folder, kind, fails, seed, rates):
    run, random = ToyRun(folder, {place: ModelFailed("no") for place in fails}), Random(seed)
    folder.mkdir()
    for number in range(CALM_AFTER + 2):
        stop = session(run, kind, random, rates if number < CALM_AFTER else {})
        if stop is not None and stop.kind == "finished":
            return run
    raise AssertionError(stop)


def figures(run, name):
    """Return a figure of each step's preparation, the one that counts."""
    told = {}
    for outcome in run.store.receipts():
        if outcome.task.phase in (Phase.PREPARE, Phase.CONCLUDE) and name in outcome.figures:
            told[outcome.task.step] = outcome.figures[name]
    return [told[step] for step in sorted(told)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", METHODS)
@settings(max_examples=6)
@given(st.integers(0, 2**32), RATES, PLACES)
def test_that_any_history_ends_as_the_run_that_nothing_disturbed(kind, seed, rates, fails):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        run = driven(Path(folder) / "disturbed", kind, fails, seed, rates)
        reference = driven(Path(folder) / "reference", kind, fails, 0, {})
        ours, theirs = (fold(read_journal(one.folder / "journal.jsonl")) for one in (run, reference))
        assert ours.survivors == theirs.survivors
        assert ours.last_update == theirs.last_update
        last = MOST - 1 if ours.last_update is None else ours.last_update
        for step in range(last + 2):
            assert run.store.parameters(step).tobytes() == reference.store.parameters(step).tobytes()
            assert run.store.predicted(step).tobytes() == reference.store.predicted(step).tobytes()
        members = list(ours.survivors[Phase.FORECAST, last + 1])
        assert np.isfinite(run.store.parameters(last + 1)[members]).all()


def test_that_what_is_disturbed_here_looks_ends_and_takes_back():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        runs = {kind: driven(Path(folder) / kind, kind, [], 0, {}) for kind in METHODS}
        last = {
            kind: fold(read_journal(run.folder / "journal.jsonl")).last_update for kind, run in runs.items()
        }
        assert last["restricted"] == 4
        assert last["nesterov"] is not None
        assert last["enrml"] is None
        assert max(figures(runs["restricted"], "trials")) > 1
        assert max(figures(runs["nesterov"], "ahead")) > 0.1
        assert 0.0 in figures(runs["enrml"], "accepted")
        for kind in ("restricted", "nesterov"):
            assert figures(runs[kind], "left")[-1] == 0.0
