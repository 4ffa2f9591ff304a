"""Laws of distance localization: weights and rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper, obs_obs_taper, state_obs_taper, taper_by_kind
from daflow.numerics.localization.tapers import TAPERS
from tests.numerics.localization.tapers_by_hand import (
    close,
    dense_by_kind,
    dense_weights,
    families,
    mixed_rules,
    options,
    scattered,
    seeds,
    taper_of,
)


@given(seed=seeds)
@settings(max_examples=20)
def test_that_each_pair_of_variable_and_kind_follows_its_own_rule(seed):
    rng = np.random.default_rng(seed)
    points, obs_points = scattered(seed, 200), scattered(seed + 1, 30)
    variables, kinds = rng.choice([3, 8], 200), rng.integers(0, 3, 30)
    rules = mixed_rules()
    weights = taper_by_kind(points, variables, obs_points, kinds, rules).toarray()
    close(weights, dense_by_kind(points, variables, obs_points, kinds, rules))


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (0, 0)])
def test_that_no_points_or_no_observations_are_no_special_case(n, m):
    taper = DistanceTaper("step", (1.0, 1.0, 1.0))
    assert state_obs_taper(scattered(3, 9)[:n], scattered(3, 9)[:m], taper).shape == (n, m)


def test_that_nothing_in_reach_at_all_stores_nothing():
    taper = DistanceTaper("gaspari_cohn", (1.0, 1.0, None))
    assert state_obs_taper(scattered(3, 50), scattered(3, 4) + 1000.0, taper).nnz == 0


@given(family=families, option=options, seed=seeds, with_cutoff=st.booleans())
@settings(max_examples=60)
def test_that_the_sparse_taper_equals_the_dense_formula(family, option, seed, with_cutoff):
    cutoff = 1.7 if with_cutoff and np.isinf(TAPERS[family].reach) else None
    taper = DistanceTaper(family, cutoff=cutoff, **option)
    points, obs_points = scattered(seed, 80), scattered(seed + 1, 23)
    close(state_obs_taper(points, obs_points, taper).toarray(), dense_weights(points, obs_points, taper))


@given(family=families, option=options, seed=seeds)
@settings(max_examples=30)
def test_that_the_taper_among_observations_is_symmetric_with_ones_on_the_diagonal(family, option, seed):
    weights = obs_obs_taper(scattered(seed, 40), DistanceTaper(family, **option)).toarray()
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(np.diag(weights), 1.0)


def test_that_a_step_hears_both_neighbours_on_a_regular_grid():
    x = 1e5 + 0.1 * np.arange(41)
    points = np.stack([x, x * 0.0, x * 0.0], axis=1)
    weights = state_obs_taper(points, points, DistanceTaper("step", (0.3, None, None))).toarray()
    np.testing.assert_array_equal(weights[10:-10].sum(axis=1), 7.0)


def test_that_the_angle_turns_from_x_counter_clockwise():
    taper = DistanceTaper("step", (4.0, 1.0, None), angle=30.0)
    direction = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0])
    across = np.array([-direction[1], direction[0], 0.0])
    weights = state_obs_taper(np.stack([3.0 * direction, 3.0 * across]), np.zeros((1, 3)), taper)
    np.testing.assert_array_equal(weights.toarray(), [[1.0], [0.0]])


def test_that_beta_takes_its_exponent_from_the_taper():
    obs_points = np.zeros((1, 3))
    points = np.array([[0.25, 0.0, 0.0]])
    for exponent, expected in ((None, 27.0 / 28.0), (1.0, 0.75)):
        taper = DistanceTaper("beta", (1.0, None, None), beta=exponent)
        assert state_obs_taper(points, obs_points, taper)[0, 0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "gaspari"}, "gaspari_cohn"),
        ({"lengths": (1.0, 2.0)}, "three numbers"),
        ({"lengths": (1.0, 0.0, None)}, "three numbers"),
        ({"lengths": (1.0, float("nan"), None)}, "three numbers"),
        ({"lengths": (None, float("inf"), None)}, "no axis"),
        ({"angle": float("nan")}, "angle"),
        ({"lengths": (None, None, 1.0), "angle": 10.0}, "neither x nor y"),
        ({"cutoff": 1.0}, "ends at 2.0"),
        ({"family": "gaussian", "cutoff": 0.0}, "cutoff"),
        ({"beta": 3.0}, "no exponent"),
        ({"family": "beta", "beta": 0.0}, "above 0"),
    ],
)
def test_that_a_taper_that_cannot_be_honoured_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        taper_of(**options)


def test_that_a_missing_coordinate_is_named_with_the_cure():
    points, obs_points = scattered(1, 20), scattered(2, 5)
    points[7, 1] = np.nan
    with pytest.raises(DataError, match=r"state point number 7 has no y(.|\n)*untapered"):
        state_obs_taper(points, obs_points, taper_of())
    with pytest.raises(DataError, match="observation number 7 has no y"):
        plan_localization(obs_points, 0, points, 0, {(0, 0): taper_of()})


def test_that_a_missing_coordinate_along_an_axis_that_does_not_count_does_no_harm():
    points, obs_points = scattered(1, 20), scattered(2, 5)
    full = state_obs_taper(points, obs_points, taper_of()).toarray()
    points[:, 2], obs_points[:, 2] = np.nan, np.nan
    np.testing.assert_array_equal(state_obs_taper(points, obs_points, taper_of()).toarray(), full)


def test_that_a_rotated_taper_needs_both_x_and_y():
    points = scattered(1, 20)
    points[0, 0] = np.nan
    with pytest.raises(DataError, match="has no x"):
        state_obs_taper(points, points, taper_of(lengths=(None, 1.0, None), angle=10.0))


def test_that_a_pair_without_a_rule_is_named():
    with pytest.raises(ConfigError, match="variable code 0 and observation kind code 4"):
        taper_by_kind(scattered(1, 20), 0, scattered(2, 5), 4, {(0, 0): taper_of()})


@pytest.mark.parametrize(
    ("points", "codes", "words"),
    [
        (np.zeros((5, 2)), 0, "points have the wrong shape"),
        (np.zeros((5, 3)), np.zeros(4, int), "variable_codes"),
        (np.zeros((5, 3)), np.zeros(5), "variable_codes"),
    ],
)
def test_that_arrays_of_a_wrong_shape_are_named(points, codes, words):
    with pytest.raises(DataError, match=words):
        plan_localization(points, codes, np.zeros((2, 3)), 0, {(0, 0): taper_of()})


def ring_weights(points, obs_points, taper):
    """Weights by the shortest way around, pair by pair."""
    shifts = np.array([(i, j, 0.0) for i in (-1, 0, 1) for j in (-1, 0, 1)]) * (40.0, 30.0, 0.0)
    each = [
        dense_weights(points, obs_points + shift, DistanceTaper(taper.family, taper.lengths, taper.angle))
        for shift in shifts
    ]
    return np.max(each, axis=0)


@given(
    seed=seeds, angle=st.sampled_from([0.0, 30.0]), family=st.sampled_from(["gaspari_cohn", "step", "beta"])
)
@settings(max_examples=30)
def test_that_a_domain_that_closes_on_itself_is_measured_the_shortest_way_around(seed, angle, family):
    rng = np.random.default_rng(seed)
    points, obs_points = (
        rng.uniform(0.0, (40.0, 30.0, 1.0), (90, 3)),
        rng.uniform(0.0, (40.0, 30.0, 1.0), (21, 3)),
    )
    taper = DistanceTaper(family, (6.0, 5.0, None), angle, period=(40.0, 30.0, None))
    expected = ring_weights(points, obs_points, taper)
    close(state_obs_taper(points, obs_points, taper).toarray(), expected)
    elsewhere = points + rng.integers(-2, 3, (90, 1)) * (40.0, 30.0, 0.0)
    close(state_obs_taper(elsewhere, obs_points, taper).toarray(), expected)
    plan = plan_localization(points, np.zeros(90, int), obs_points, np.zeros(21, int), {(0, 0): taper})
    found = np.zeros((90, 21))
    for group in plan.groups():
        for here, obs, weights in group.tapered:
            for row, number in enumerate(obs):
                found[here, number] += weights[row]
    close(found, expected)


@pytest.mark.parametrize(
    "period", [(24.0, None, None), (np.inf, None, None), (0.0, None, None), (None, None, 50.0)]
)
def test_that_a_period_that_a_taper_reaches_around_is_refused(period):
    with pytest.raises(ConfigError, match="The period of a taper"):
        DistanceTaper("gaspari_cohn", (6.0, 6.0, None), period=period)
