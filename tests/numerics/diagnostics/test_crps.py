import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics.crps import crps, crps_parts, fair_crps

seeds = given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 20))


def problem(seed, n_members, n):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_members, n)), 1.5 * rng.standard_normal(n)


@settings(max_examples=30)
@seeds
def test_that_the_score_is_the_integral_of_its_definition(seed, n_members, n):
    members, truth = problem(seed, n_members, n)
    for case in range(min(n, 3)):
        points = np.sort(np.append(members[:, case], truth[case]))
        middles = 0.5 * (points[1:] + points[:-1])
        forecast = (members[:, case] <= middles[:, np.newaxis]).mean(axis=1)
        expected = np.diff(points) @ (forecast - (middles >= truth[case])) ** 2
        assert crps(members, truth)[case] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30)
@seeds
def test_that_the_parts_add_up_to_the_mean_score(seed, n_members, n):
    members, truth = problem(seed, n_members, n)
    # Equal members, and truths equal to members, are where a decomposition goes wrong.
    members, truth = np.round(2 * members) / 2, np.round(2 * truth) / 2
    parts = crps_parts(members, truth)
    assert parts.score == pytest.approx(crps(members, truth).mean(), abs=1e-12)
    assert parts.reliability >= 0
    assert parts.potential >= -1e-15


@settings(max_examples=30)
@seeds
def test_that_shifts_do_not_matter_and_units_scale(seed, n_members, n):
    members, truth = problem(seed, n_members, n)
    np.testing.assert_allclose(crps(members + 7, truth + 7), crps(members, truth), atol=1e-12)
    np.testing.assert_allclose(crps(3 * members, 3 * truth), 3 * crps(members, truth), atol=1e-12)
    assert (crps(members, truth) >= -1e-15).all()
    np.testing.assert_allclose(crps(members[:1], truth), np.abs(members[0] - truth))


def test_that_the_fair_score_does_not_depend_on_the_number_of_members():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(100_000)
    # For a standard normal ensemble and truth: 1 / sqrt(pi).
    for n_members in (2, 5):
        found = fair_crps(rng.standard_normal((n_members, truth.size)), truth).mean()
        assert found == pytest.approx(1 / np.sqrt(np.pi), abs=0.008)
    assert crps(rng.standard_normal((2, truth.size)), truth).mean() > 0.7


def test_that_a_reliable_ensemble_has_little_to_lose_and_an_ignorant_one_the_climatology_s_score():
    rng = np.random.default_rng(1)
    centre = rng.standard_normal(20_000)
    truth = centre + 0.5 * rng.standard_normal(20_000)
    sharp = crps_parts(centre + 0.5 * rng.standard_normal((20, 20_000)), truth)
    narrow = crps_parts(centre + 0.1 * rng.standard_normal((20, 20_000)), truth)
    ignorant = crps_parts(np.sqrt(1.25) * rng.standard_normal((20, 20_000)), truth)
    assert sharp.reliability < 0.01 * sharp.score
    assert narrow.reliability > 10 * sharp.reliability
    assert ignorant.potential == pytest.approx(ignorant.uncertainty, rel=0.05)
    assert sharp.potential < 0.6 * sharp.uncertainty


def test_that_what_cannot_be_scored_is_refused():
    with pytest.raises(DataError, match="scored"):
        crps(np.empty((0, 3)), np.ones(3))
    with pytest.raises(DataError, match="scored"):
        fair_crps([[1.0]], [1.0])
    with pytest.raises(DataError, match="truth"):
        crps([[1.0]], [1.0, 2.0])
