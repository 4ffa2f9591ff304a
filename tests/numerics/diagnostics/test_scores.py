"""Scores of predictions of several kinds together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.crps import crps
from daflow.numerics.diagnostics.misfit import misfit_by_group
from daflow.numerics.diagnostics.scores import mean_misfits, scores_of

drawn = given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 30))


def problem(seed, n_members, n_obs):
    rng = np.random.default_rng(seed)
    return (
        rng,
        rng.standard_normal((n_members, n_obs)),
        rng.standard_normal(n_obs),
        rng.uniform(0.1, 3, n_obs),
    )


@settings(max_examples=30)
@drawn
def test_that_scores_are_those_of_the_plain_formulas_in_units_of_the_errors(seed, n_members, n_obs):
    _, predicted, truth, std = problem(seed, n_members, n_obs)
    found = scores_of(predicted, truth, std)
    assert found.rmse**2 == pytest.approx(np.mean(((predicted.mean(axis=0) - truth) / std) ** 2))
    variance = np.mean(predicted.var(axis=0, ddof=1) / std**2)
    assert found.spread**2 == pytest.approx(variance * (n_members + 1) / n_members)
    assert found.crps.score == pytest.approx(np.mean(crps(predicted, truth) / std))
    assert found.ranks.sum() == pytest.approx(n_obs)
    assert found.ranks[0] == pytest.approx(np.count_nonzero((predicted > truth).all(axis=0)), abs=1e-9)
    filled = (found.ranks + 0.5) / (found.ranks + 0.5).sum()
    assert found.divergence == pytest.approx(-np.mean(np.log(filled * filled.size)), abs=1e-12)
    for bins, whole in ((found.skill.spread, found.spread), (found.skill.error, found.rmse)):
        assert np.average(bins**2, weights=found.skill.n_cases) == pytest.approx(whole**2)


@settings(max_examples=20)
@drawn
def test_that_units_do_not_matter(seed, n_members, n_obs):
    rng, predicted, truth, std = problem(seed, n_members, n_obs)
    units = 10.0 ** rng.integers(-3, 4, n_obs)
    found = scores_of(predicted * units, truth * units, std * units)
    expected = scores_of(predicted, truth, std)
    np.testing.assert_allclose(found.ranks, expected.ranks, atol=1e-12)
    assert (found.rmse, found.spread) == pytest.approx((expected.rmse, expected.spread))
    assert found.crps == pytest.approx(expected.crps)


@settings(max_examples=30)
@drawn
def test_that_mean_misfits_are_those_by_group_in_one_pass(seed, n_members, n_obs):
    rng, predicted, values, std = problem(seed, n_members, n_obs)
    codes = rng.integers(0, 4, n_obs)
    found = mean_misfits(predicted, values, std, codes, 4)
    expected = {code: each.mean() for code, each in misfit_by_group(predicted, values, std, codes).items()}
    for code in range(4):
        assert found[code] == pytest.approx(expected.get(code, np.nan), nan_ok=True)


@pytest.mark.parametrize("deviations", [[], [0.0], [-1.0], [np.nan]])
def test_that_errors_without_a_deviation_are_refused(deviations):
    n = len(deviations)
    with pytest.raises(DataError, match="deviation"):
        scores_of(np.ones((3, n)), np.ones(n), deviations)
