import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.filters.cycling import cycle, filtering, iterating, rms, twin
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, apply_transform, rotated
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.filters.ienks import cost

seeds = st.integers(0, 2**32 - 1)


def turning(angle=0.7, growth=1.05):
    matrix = growth * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return lambda states: states @ matrix


def bent(states):
    """A model that is not linear, and stays in bounds."""
    return np.sin(states[:, ::-1]) + 0.5 * states


def analysis(_, forecast, observed):
    return apply_transform(etkf(forecast, observed, np.full(2, 0.3)), forecast)


def drawn(seed, n_cycles=12, n_members=6, model=bent):
    rng = np.random.default_rng(seed)
    prior = rng.standard_normal((n_members, 2))
    return prior, twin(model, rng.standard_normal(2), 0.5 * rng.standard_normal((n_cycles, 2)))


def unchanged(_, transform):
    return transform


def test_that_without_errors_observations_are_those_of_the_truth():
    seen = twin(bent, [1.0, 2.0], np.zeros((5, 1)), lambda states: states[:, :1] ** 2)
    np.testing.assert_array_equal(seen.observations, seen.truth[:, :1] ** 2)
    np.testing.assert_array_equal(seen.truth[0], bent(np.array([[1.0, 2.0]]))[0])


def test_that_a_truth_does_not_depend_on_how_long_it_goes_on():
    long, short = (twin(bent, [1.0, 2.0], np.zeros((n, 2))).truth for n in (9, 4))
    np.testing.assert_array_equal(long[:4], short)


@settings(max_examples=20)
@given(seeds, st.integers(1, 11))
def test_that_the_first_part_is_scored_the_same_however_long_the_rest_is(seed, n_first):
    prior, seen = drawn(seed)
    stage = filtering(bent, analysis)
    whole = cycle(stage, prior, seen)
    first = cycle(stage, prior, type(seen)(*(part[:n_first] for part in seen)))
    for one, other in zip(whole, first, strict=True):
        np.testing.assert_array_equal(one[:n_first], other)


@settings(max_examples=20)
@given(seeds)
def test_that_permuting_the_members_changes_scores_by_rounding_only(seed):
    prior, seen = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(prior))
    for stage in (filtering(bent, analysis), iterating(bent, np.full(2, 0.3), unchanged)):
        np.testing.assert_allclose(cycle(stage, prior[order], seen), cycle(stage, prior, seen), rtol=1e-9)


def test_that_an_analysis_that_changes_nothing_leaves_the_free_model():
    prior, seen = drawn(3)
    visited = []
    stage = filtering(bent, lambda _, forecast, __: forecast)
    scores = cycle(stage, prior, seen, lambda number, members: visited.append((number, members)))
    free = prior
    for number, members in visited:
        free = bent(free)
        np.testing.assert_array_equal(members, free)
        error = np.sqrt(np.mean((free.mean(axis=0) - seen.truth[number]) ** 2))
        assert scores.analysis_rmse[number] == pytest.approx(error, rel=1e-12)
        assert scores.forecast_spread[number] == pytest.approx(np.sqrt(free.var(axis=0, ddof=1).mean()))
    assert [number for number, _ in visited] == list(range(12))


@settings(max_examples=20)
@given(seeds, st.integers(1, 4))
def test_that_iterating_with_a_linear_model_is_the_etkf(seed, most):
    prior, seen = drawn(seed, model=turning())
    once = cycle(filtering(turning(), analysis), prior, seen)
    iterated = cycle(iterating(turning(), np.full(2, 0.3), unchanged, most=most), prior, seen)
    np.testing.assert_allclose(iterated, once, rtol=1e-8)


def test_that_iterations_end_where_the_gradient_of_the_cost_is_small():
    prior, seen = drawn(8, n_cycles=1)
    steps = []

    def keep(_, transform):
        steps.append(transform)
        return transform

    iterating(bent, np.full(2, 0.3), keep, most=50)(0, prior, seen.observations[0])
    weights = steps[0].mean_weights
    anomalies = prior - prior.mean(axis=0)

    def cost_of(w):
        here = bent((prior.mean(axis=0) + w @ anomalies)[np.newaxis])[0]
        residual = seen.observations[0] - here
        return 0.5 * (len(prior) - 1) * w @ w + 0.5 * residual @ residual / 0.3

    # The mean of the predictions stands for the prediction of the mean: near, not equal.
    others = weights + 0.5 * np.random.default_rng(0).standard_normal((200, len(prior)))
    assert cost_of(weights) < min(cost_of(w - w.mean()) for w in others)


def test_that_what_starts_the_next_stage_may_be_wider_than_the_analysis():
    prior, seen = drawn(4, n_cycles=1)
    swap = np.eye(6)[[1, 0, 2, 3, 4, 5]]

    def widen(_, transform):
        weights, mixing = rotated(transform, swap)
        return EnsembleTransform(weights, 2.0 * mixing)

    stage = iterating(turning(), np.full(2, 0.3), widen)
    _, found, start = stage(0, prior, seen.observations[0])
    np.testing.assert_allclose(start.mean(axis=0), found.mean(axis=0), atol=1e-12)
    expected = 2.0 * swap @ (found - found.mean(axis=0))
    np.testing.assert_allclose(start - start.mean(axis=0), expected, atol=1e-12)


def test_that_spin_up_is_left_out():
    prior, seen = drawn(1)
    scores = cycle(filtering(bent, analysis), prior, seen)
    np.testing.assert_array_equal(scores.after(4).analysis_spread, scores.analysis_spread[4:])
    for spin_up in (-1, 12):
        with pytest.raises(ConfigError, match="spin-up"):
            scores.after(spin_up)


def test_that_the_root_of_the_mean_square_is_over_time():
    assert rms([3.0, 4.0]) == pytest.approx(np.sqrt(12.5))


def test_that_what_does_not_fit_or_diverges_is_refused():
    prior, seen = drawn(1)
    with pytest.raises(DataError, match="prior"):
        cycle(filtering(bent, analysis), prior[:, :1], seen)
    with pytest.raises(DataError, match="time 0"):
        cycle(filtering(bent, lambda _, forecast, __: forecast * np.nan), prior, seen)
    with pytest.raises(ConfigError, match="iterations"):
        iterating(bent, np.ones(2), unchanged, most=0)


def test_that_a_step_after_which_forecasts_are_not_finite_is_halved():
    def cliff(states):
        """Linear as far as the observations ask for half a step, and no number beyond."""
        return np.where(np.abs(states) < 0.8, 0.1 * states, np.nan)

    prior = np.array([[-0.5], [0.0], [0.5]])
    _, found, _ = iterating(cliff, [1e-6], unchanged, most=4)(0, prior, np.array([0.1]))
    assert np.isfinite(found).all()
    assert 0.04 < found.mean() < 0.08


@pytest.mark.parametrize(("slope", "mean"), [(2.0, 2.0), (3.0, 0.5), (3.0, 1.5), (4.0, 1.5)])
def test_that_more_iterations_never_end_at_a_higher_cost(slope, mean):
    def folded(states):
        """Gauss-Newton jumps to and fro over its minima."""
        return np.sin(slope * states) + 0.3 * states

    prior = np.random.default_rng(2).standard_normal((8, 1)) + mean
    observed, variances, taken, costs = np.array([0.2]), [1e-3], [], []

    def keep(_, transform):
        taken.append(transform)
        return transform

    for most in range(2, 16):
        _, analysis, _ = iterating(folded, variances, keep, most=most)(0, prior, observed)
        np.testing.assert_array_equal(analysis, folded(apply_transform(taken[-1], prior)))
        costs.append(cost(taken[-1], analysis, observed, variances))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.9 * costs[0]
