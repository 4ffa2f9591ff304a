"""The iterative smoother as a method: what its steps make of the ensemble that a cycle starts from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError
from daflow.methods import IterativeKalmanSmoother
from daflow.methods.filters_global import RandomRotation, not_rotated
from daflow.methods.filters_iterated import survivors_transform
from daflow.methods.observed import Observed
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.ienks import iteration, no_transform
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.ports import SlicePoints, StepInput
from tests.methods.in_slices import InSlices

N_STATE, N_OBS = 11, 5


class Cycle:
    """A cycle of a model that bends: the state at its end, and observations of that."""

    def __init__(self, seed=1, n_members=7, bend=0.0):
        rng = np.random.default_rng(seed)
        self.prior = rng.standard_normal((n_members, N_STATE))
        self.map, self.bend = rng.standard_normal((N_STATE, N_STATE)) / 3, bend
        self.values = rng.standard_normal(N_OBS)
        self.error = DiagonalCovariance(rng.uniform(0.3, 2, N_OBS))

    def forecast(self, state):
        ended = state @ self.map
        return ended + self.bend * ended**3

    def predict(self, state):
        return self.forecast(state)[:, :N_OBS]

    def method(self, iterations, rotate=not_rotated):
        observed = Observed(self.values, self.error, None)
        return IterativeKalmanSmoother(lambda _: observed, iterations + 1, iterations, rotate)

    def driven(self, iterations, cuts=(), rotate=not_rotated, lost=None, seen=()):
        """Return the states that each step starts from, and where the cycle ends, of the members left."""
        method, lost = self.method(iterations, rotate), lost or {}
        points = SlicePoints(np.zeros(N_STATE, np.int64), np.full((N_STATE, 3), np.nan))
        slices = InSlices(method, points, cuts)
        members, states, figures = list(range(len(self.prior))), [self.prior], []
        for step in range(iterations + 1):
            left = [m for m in members if m not in lost.get(step, ())]
            states = [state[[members.index(m) for m in left]] for state in states]
            members = left
            now = seen[step] if seen else states[step]
            base = self.forecast(now) if step == iterations else states[method.base(step)]
            posterior, prepared = slices.step(step, base, self.predict(now), members)
            states.append(posterior)
            figures.append(dict(prepared.figures))
        return states, figures


def close(actual, expected, atol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_that_with_a_linear_model_it_is_the_transform_filter(iterations):
    cycle = Cycle()
    ended = cycle.forecast(cycle.prior)
    expected = apply_transform(etkf(ended[:, :N_OBS], cycle.values, cycle.error), ended)
    states, figures = cycle.driven(iterations)
    close(states[-1], expected, 1e-10)
    close(states[-1], cycle.forecast(states[-2]))
    assert all(each["change"] < 1e-6 for each in figures[1:-1])


def test_that_it_is_the_loop_in_memory():
    cycle = Cycle(bend=0.05)
    transform, states = no_transform(7), [cycle.prior]
    for _ in range(3):
        transform = iteration(transform, cycle.predict(states[-1]), cycle.values, cycle.error).transform
        states.append(apply_transform(transform, cycle.prior))
    found, figures = cycle.driven(3)
    for ours, expected in zip(found, [*states, cycle.forecast(states[-1])], strict=True):
        close(ours, expected, 1e-10)
    costs = [each["cost"] for each in figures[:-1]]
    assert costs == sorted(costs, reverse=True)
    assert figures[-1] == {}


def test_that_a_cycle_ends_with_the_best_ensemble_where_the_last_was_worse():
    cycle = Cycle(seed=4, bend=3.0)
    for iterations in range(2, 9):
        states, figures = cycle.driven(iterations)
        costs = [each["cost"] for each in figures[:-1]]
        if costs[-1] > min(costs):
            close(states[-2], states[int(np.argmin(costs))], 1e-10)
            return
    pytest.fail("every iteration was better than the one before: this tests nothing")


@settings(max_examples=20)
@given(st.lists(st.integers(0, N_STATE), max_size=4).map(sorted), st.booleans())
def test_that_the_slices_do_not_matter(cuts, rotates):
    cycle, rotate = Cycle(bend=0.05), RandomRotation(3) if rotates else not_rotated
    whole, _ = cycle.driven(3, rotate=rotate)
    parts, _ = cycle.driven(3, cuts, rotate, seen=whole)
    for one, other in zip(parts, whole, strict=True):
        close(one, other)


def test_that_a_rotation_keeps_mean_and_covariance_at_the_end_of_the_cycle_alone():
    cycle = Cycle(bend=0.05)
    plain, turned = cycle.driven(2)[0], cycle.driven(2, rotate=RandomRotation(3))[0]
    for ours, expected in zip(turned[:-1], plain[:-1], strict=True):
        assert ours.tobytes() == expected.tobytes()
    assert np.abs(turned[-1] - plain[-1]).max() > 0.1
    close(turned[-1].mean(axis=0), plain[-1].mean(axis=0))
    close(np.cov(turned[-1].T), np.cov(plain[-1].T))


def test_that_permuted_members_have_the_permuted_end():
    cycle, order = Cycle(bend=0.05), np.random.default_rng(5).permutation(7)
    expected = cycle.driven(3)[0][-1][order]
    cycle.prior = cycle.prior[order]
    close(cycle.driven(3)[0][-1], expected, 1e-9)


@pytest.mark.parametrize("when", [0, 1, 2, 3])
def test_that_the_others_go_on_where_members_are_lost(when):
    cycle = Cycle(n_members=12, bend=0.02)
    states, _ = cycle.driven(3, lost={when: [2, 9]})
    assert len(states[-1]) == 10
    # What they come to is near what ten members had come to from the start.
    cycle.prior = np.delete(cycle.prior, [2, 9], axis=0)
    alone = cycle.driven(3)[0][-1]
    spread = alone.std(axis=0)
    assert (np.abs(states[-1].mean(axis=0) - alone.mean(axis=0)) < spread).all()


def test_that_the_transform_of_survivors_does_what_it_did():
    rng = np.random.default_rng(2)
    anomalies = rng.standard_normal((6, 6))
    anomalies += (1 - anomalies.sum(axis=0)) / 6
    transform = EnsembleTransform(rng.standard_normal(6), anomalies)
    assert survivors_transform(transform, list(range(6))) is transform
    left = survivors_transform(transform, [0, 2, 3, 5])
    close(left.anomaly_transform.sum(axis=0), np.ones(4))
    nothing = survivors_transform(no_transform(6), [1, 2, 4])
    close(nothing.anomaly_transform, np.eye(3))
    close(nothing.mean_weights, np.zeros(3))


def test_that_it_does_not_go_on_from_what_another_method_left():
    cycle = Cycle()
    with pytest.raises(CombinationError, match="its own steps before"):
        cycle.method(2).prepare(
            StepInput(1, range(7), lambda a, b: np.zeros((7, b - a)), {"transform": np.eye(7)})
        )
