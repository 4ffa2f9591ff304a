"""ES-MDA whose alphas are found on the way."""

import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from daflow.errors import CombinationError, RunError
from daflow.methods import DiscrepancyEsMda, EsMda, PerturbedUpdate, RestrictedEsMda
from daflow.methods.step_lengths import DiscrepancyLengths, member_misfits
from daflow.numerics.diagnostics.misfit import data_misfit
from daflow.numerics.obs_error.covariance import as_covariance
from daflow.ports import SliceInput, SlicePoints, StepInput
from daflow.records import StateSlice
from tests.methods.in_slices import InSlices
from tests.methods.smoothing import SEED, Problem, close, driven, errors_of

GOLDEN = Path(__file__).parents[1] / "golden"
forms = pytest.mark.parametrize("form", ["diag", "dense"])


@dataclass
class Table:
    """Perturbations from a table of normals, a block a draw, in the order of the steps."""

    values: np.ndarray
    obs_error: object
    normals: np.ndarray
    seed: int = 0
    numbers: None = None
    used: list = field(default_factory=lambda: [0])
    """Blocks that were used up before each step."""

    def begin(self, step, members, alpha, draw=0):
        coloured = self.obs_error.colour(self.normals[self.used[step] + draw].T)
        return lambda where, part: self.values[where] + np.sqrt(alpha) * coloured[:, where]


class Golden:
    """A weakly nonlinear problem, and the trajectory that it has to take."""

    def __init__(self, name):
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}
        self.table = Table(self.arrays["d"], as_covariance(self.arrays["R"]), self.arrays["Z"])
        self.update = PerturbedUpdate(self.table)

    def predict(self, state):
        linear = state @ self.arrays["A"].T
        return linear + 0.1 * linear**2

    def follow(self, method, draws):
        """Drive a method; ``draws`` says from what was prepared how many blocks a step used up."""
        state = self.arrays["X0"].T
        points = SlicePoints(np.zeros(5, np.int64), np.full((5, 3), np.nan))
        slices, states, prepared = InSlices(method, points, [2, 3]), [state], []
        while not (prepared and prepared[-1].last):
            state, one = slices.step(len(prepared), state, self.predict(state))
            states.append(state)
            prepared.append(one)
            self.table.used.append(self.table.used[-1] + draws(one))
        np.testing.assert_allclose(
            [one.figures["alpha"] for one in prepared], self.arrays["alphas"], rtol=1e-8
        )
        assert len(states) == len(self.arrays["traj"])
        for found, expected in zip(states, self.arrays["traj"], strict=True):
            assert np.abs(found - expected.T).max() <= 1e-8 * np.abs(expected).max()
        return prepared


@forms
def test_that_the_data_misfit_controller_follows_the_golden_trajectory(form):
    golden = Golden(f"esmda_dmc_{form}")
    golden.follow(DiscrepancyEsMda(DiscrepancyLengths(50), golden.update), lambda prepared: 1)


@forms
def test_that_restricted_steps_follow_the_golden_trajectory(form):
    golden = Golden(f"esmda_rs_{form}")
    prepared = golden.follow(
        RestrictedEsMda(50, golden.update), lambda prepared: int(prepared.figures["trials"])
    )
    assert all(one.figures["moved"] < 2 for one in prepared)


def test_that_alphas_that_are_found_are_used_as_those_that_are_given():
    problem = Problem(bend=0.05)
    found = driven(problem, DiscrepancyEsMda(DiscrepancyLengths(9), problem.update()))
    alphas = tuple(found.figures("alpha"))
    assert len(alphas) > 1
    given = driven(problem, EsMda(alphas, problem.values, problem.covariance, SEED))
    assert given.final.tobytes() == found.final.tobytes()


def moves_of(problem, history):
    deviations = problem.prior.std(axis=0, ddof=1)
    pairs = zip(history.states, history.states[1:], strict=False)
    return [float((np.abs(after - before) / deviations).max()) for before, after in pairs]


@pytest.mark.parametrize("tapers", [None, "gain", "observation_error"])
@pytest.mark.parametrize("largest", [0.8, 2.0])
def test_that_no_step_but_the_last_moves_a_number_too_far(tapers, largest):
    problem = Problem(bend=0.02, far=12.0)
    locality = None if tapers is None else problem.locality(tapers)
    method = RestrictedEsMda(30, problem.update(locality), largest)
    history = driven(problem, method, [5, 22])
    moves = moves_of(problem, history)
    assert len(moves) > 2
    np.testing.assert_allclose(moves[:-1], history.figures("moved")[: len(moves) - 1], rtol=1e-6)
    assert max(moves[:-1]) < largest
    # The alphas tried before were smaller and moved something too far.
    assert largest > 1 or max(history.figures("trials")) > 1


def test_that_the_first_trial_of_a_restricted_step_sees_the_observations_of_es_mda():
    problem = Problem(far=0.5)
    method = RestrictedEsMda(9, problem.update(), largest=1e9)
    found = driven(problem, method)
    alphas = tuple(found.figures("alpha"))
    given = driven(problem, EsMda(alphas, problem.values, problem.covariance, SEED))
    assert given.final.tobytes() == found.final.tobytes()


@pytest.mark.parametrize("error", ["diagonal", "low_rank"])
def test_that_draws_of_one_step_are_fresh_and_each_member_s_own(error):
    source = Problem(error=error).source
    parts = list(source.obs_error.parts(99))

    def drawn(members, draw):
        perturb = source.begin(1, members, 1.0, draw)
        return np.concatenate([perturb(where, part) for where, part in parts], axis=1)

    several = [drawn([0, 4], draw) for draw in range(4)]
    assert len(np.unique(np.concatenate(several))) == 4 * 2 * 6
    np.testing.assert_allclose(drawn([4], 3)[0], several[3][1], rtol=1e-13)


def test_that_a_ladder_that_is_too_short_is_told_of():
    problem = Problem(far=12.0)
    method = RestrictedEsMda(30, problem.update(), largest=1e-3, trials=2)
    with pytest.raises(RunError, match="none of 2 alphas"):
        driven(problem, method)


def test_that_a_localization_that_has_to_look_first_is_refused_for_restricted_steps():
    @dataclass
    class Looking:
        surveys: bool = True

    with pytest.raises(CombinationError, match="look at the whole prior"):
        RestrictedEsMda(3, Problem().update(Looking()))


def peak_of(act):
    """Return the most bytes that are held at a time beyond those before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_that_trying_many_alphas_takes_one_slab_more():
    n_members, n = 20, 100_000
    problem = Problem(n_members=n_members, n_state=n)
    slab = problem.prior
    method = RestrictedEsMda(9, problem.update(), trials=6)
    predicted = problem.predict(slab)
    step = StepInput(0, range(n_members), lambda start, stop: predicted[:, start:stop].copy(), {})
    factors = method.prepare(step).arrays
    given = SliceInput(0, StateSlice(0, 0, n), range(n_members), factors, {}, {})
    # A buffer of the update and the deviations come on top.
    assert peak_of(lambda: method.survey(given, slab)) < slab.nbytes + 4_000_000


@pytest.mark.parametrize("error", errors_of(6))
def test_that_misfits_read_by_blocks_are_those_of_the_whole(error):
    problem = Problem(error=error)
    predicted = problem.predict(problem.prior)
    given = StepInput(0, range(9), lambda start, stop: predicted[:, start:stop].copy(), {})
    found = member_misfits(given, problem.source)
    close(found, data_misfit(predicted, problem.values, problem.covariance), 1e-12)
