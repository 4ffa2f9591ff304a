"""Laws of distance localization: weights, rules, and the localized increment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics import cells
from daflow.numerics.cells import LocalizationPlan, localized_increment, plan_localization
from daflow.numerics.localization import DistanceTaper, obs_obs_taper, state_obs_taper, taper_by_kind
from daflow.numerics.tapers import TAPERS

FAMILIES = sorted(TAPERS)
SHAPES = {
    "along_x": {"lengths": (2.0, None, None)},
    "along_y": {"lengths": (None, 1.5, None)},
    "plane": {"lengths": (3.0, 1.0, None)},
    "plane_rotated": {"lengths": (3.0, 1.0, None), "angle": 35.0},
    "one_rotated_axis": {"lengths": (np.inf, 1.0, None), "angle": -60.0},
    "space": {"lengths": (3.0, 1.0, 2.0)},
    "space_rotated": {"lengths": (1.0, 4.0, 2.0), "angle": 120.0},
}
options = st.sampled_from(sorted(SHAPES)).map(SHAPES.get)
families = st.sampled_from(FAMILIES)
seeds = st.integers(0, 2**32 - 1)


def scattered(seed, n, size=10.0):
    """Points in three dimensions, some of them on top of each other."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.0, size, (n, 3))
    points[: n // 10] = points[n - n // 10 :]
    return points


def dense_weights(points, obs_points, taper):
    """The formula as it is written, pair by pair."""
    delta = points[:, None, :] - obs_points[None, :, :]
    turn = np.radians(taper.angle)
    along = [
        np.cos(turn) * delta[..., 0] + np.sin(turn) * delta[..., 1],
        np.cos(turn) * delta[..., 1] - np.sin(turn) * delta[..., 0],
        delta[..., 2],
    ]
    counted = zip(along, taper.lengths, strict=True)
    scaled = [d / length for d, length in counted if length is not None]
    distance = np.sqrt(sum(np.square(d) for d in scaled))
    weights = TAPERS[taper.family].weight(distance)
    return weights if taper.cutoff is None else np.where(distance <= taper.cutoff, weights, 0.0)


def ensembles(seed, n_members, n, m):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n_members, size)) for size in (n, m, m))


def dense_increment(weights, anomalies, left, right):
    return right @ (weights * (anomalies.T @ left)).T


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max(initial=1.0))


@given(family=families, option=options, seed=seeds, with_cutoff=st.booleans())
@settings(max_examples=60, deadline=None)
def test_that_the_sparse_taper_equals_the_dense_formula(family, option, seed, with_cutoff):
    cutoff = 1.7 if with_cutoff and np.isinf(TAPERS[family].reach) else None
    taper = DistanceTaper(family, cutoff=cutoff, **option)
    points, obs_points = scattered(seed, 80), scattered(seed + 1, 23)
    close(state_obs_taper(points, obs_points, taper).toarray(), dense_weights(points, obs_points, taper))


@given(family=families, option=options, seed=seeds, with_cutoff=st.booleans())
@settings(max_examples=60, deadline=None)
def test_that_the_increment_equals_the_dense_formula(family, option, seed, with_cutoff):
    cutoff = 1.7 if with_cutoff and np.isinf(TAPERS[family].reach) else None
    taper = DistanceTaper(family, cutoff=cutoff, **option)
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    given_arrays = ensembles(seed, 6, 700, 23)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    expected = dense_increment(dense_weights(points, obs_points, taper), *given_arrays)
    close(localized_increment(plan, *given_arrays), expected)


@given(family=families, option=options, seed=seeds, cut=st.integers(0, 700))
@settings(max_examples=30, deadline=None)
def test_that_the_increment_does_not_depend_on_the_split_into_slices(family, option, seed, cut):
    rules = {(0, 0): DistanceTaper(family, **option)}
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    anomalies, left, right = ensembles(seed, 6, 700, 23)
    whole = localized_increment(plan_localization(points, 0, obs_points, 0, rules), anomalies, left, right)
    for part in (slice(0, cut), slice(cut, 700)):
        plan = plan_localization(points[part], 0, obs_points, 0, rules)
        close(localized_increment(plan, anomalies[:, part], left, right), whole[:, part])


@given(option=options, seed=seeds)
@settings(max_examples=20, deadline=None)
def test_that_the_same_points_give_the_same_bits(option, seed):
    rules = {(0, 0): DistanceTaper("gaspari_cohn", **option)}
    points, obs_points = scattered(seed, 700), scattered(seed + 1, 23)
    given_arrays = ensembles(seed, 6, 700, 23)
    first, second = (plan_localization(points.copy(), 0, obs_points, 0, rules) for _ in range(2))
    np.testing.assert_array_equal(
        localized_increment(first, *given_arrays), localized_increment(second, *given_arrays)
    )


def test_that_no_observation_in_reach_gives_an_increment_of_exactly_0():
    taper = DistanceTaper("gaspari_cohn", (1.0, 1.0, None))
    points = scattered(3, 500)
    obs_points = np.array([[2.0, 2.0, np.nan]])
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    increment = localized_increment(plan, *ensembles(1, 5, 500, 1))
    far = np.hypot(*(points[:, :2] - 2.0).T) > 2.0
    assert far.any()
    assert not far.all()
    assert np.all(increment[:, far] == 0.0)
    assert np.all(increment[:, ~far] != 0.0)


def test_that_nothing_in_reach_at_all_gives_an_empty_plan():
    taper = DistanceTaper("gaspari_cohn", (1.0, 1.0, None))
    points = scattered(3, 50)
    far_away = points[:4] + 1000.0
    plan = plan_localization(points, 0, far_away, 0, {(0, 0): taper})
    assert (plan.n_cells, plan.n_pairs) == (0, 0)
    assert np.all(localized_increment(plan, *ensembles(1, 5, 50, 4)) == 0.0)
    assert state_obs_taper(points, far_away, taper).nnz == 0


@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (0, 0)])
def test_that_no_points_or_no_observations_are_no_special_case(n, m):
    taper = DistanceTaper("step", (1.0, 1.0, 1.0))
    points, obs_points = scattered(3, 9)[:n], scattered(3, 9)[:m]
    assert state_obs_taper(points, obs_points, taper).shape == (n, m)
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    assert np.all(localized_increment(plan, *ensembles(1, 5, n, m)) == 0.0)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_that_untapered_it_is_the_global_product(seed):
    anomalies, left, right = ensembles(seed, 6, 300, 23)
    nowhere = np.full((300, 3), np.nan)
    plan = plan_localization(nowhere, 0, nowhere[:23], 0, {(0, 0): None})
    assert plan.n_pairs == 0
    close(localized_increment(plan, anomalies, left, right), right @ (anomalies.T @ left).T)


def test_that_an_untapered_state_larger_than_a_batch_is_the_global_product(monkeypatch):
    monkeypatch.setattr(cells, "BATCH_SIZE", 64)
    anomalies, left, right = ensembles(7, 6, 300, 23)
    nowhere = np.full((300, 3), np.nan)
    plan = plan_localization(nowhere, 0, nowhere[:23], 0, {(0, 0): None})
    assert plan.n_cells == 5
    close(localized_increment(plan, anomalies, left, right), right @ (anomalies.T @ left).T)


def mixed_rules():
    near = DistanceTaper("gaspari_cohn", (1.0, 2.0, None), angle=20.0)
    deep = DistanceTaper("cubic", (2.0, 2.0, 1.0))
    return {(3, 0): near, (3, 1): None, (3, 2): near, (8, 0): deep, (8, 1): near, (8, 2): None}


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_that_each_pair_of_variable_and_kind_follows_its_own_rule(seed):
    rng = np.random.default_rng(seed)
    points, obs_points = scattered(seed, 900), scattered(seed + 1, 30)
    variables, kinds = rng.choice([3, 8], 900), rng.integers(0, 3, 30)
    rules = mixed_rules()
    expected = np.ones((900, 30))
    for (variable, kind), taper in rules.items():
        block = np.ix_(variables == variable, kinds == kind)
        if taper is not None:
            expected[block] = dense_weights(points, obs_points, taper)[block]
    close(taper_by_kind(points, variables, obs_points, kinds, rules).toarray(), expected)

    given_arrays = ensembles(seed, 5, 900, 30)
    plan = plan_localization(points, variables, obs_points, kinds, rules)
    close(localized_increment(plan, *given_arrays), dense_increment(expected, *given_arrays))


@given(family=families, option=options, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_that_the_taper_among_observations_is_symmetric_with_ones_on_the_diagonal(family, option, seed):
    weights = obs_obs_taper(scattered(seed, 40), DistanceTaper(family, **option)).toarray()
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(np.diag(weights), 1.0)


def test_that_the_pairs_stored_grow_with_the_points_at_a_fixed_density():
    def pairs(width):
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(50) + 0.5, indexing="ij")
        points = np.stack([x.ravel(), y.ravel(), np.full(x.size, np.nan)], axis=1)
        rng = np.random.default_rng(1)
        obs_points = rng.uniform(0.0, 1.0, (width, 3)) * [width, 50, 1]
        taper = DistanceTaper("gaspari_cohn", (5.0, 5.0, None))
        plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
        in_reach = state_obs_taper(points, obs_points, taper).nnz
        assert plan.n_pairs < 4 * in_reach
        return plan.n_pairs

    assert pairs(800) / pairs(100) == pytest.approx(8.0, rel=0.15)


def test_that_coinciding_points_are_still_cut_into_cells():
    points = np.tile([[1.0, 2.0, np.nan]], (1000, 1))
    taper = DistanceTaper("gaspari_cohn", (1.0, 1.0, None))
    plan = plan_localization(points, 0, points[:1], 0, {(0, 0): taper})
    assert np.diff(plan.point_starts).max() <= cells.CELL_SIZE
    assert plan.n_pairs == 1000


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


def test_that_a_plan_survives_being_taken_apart():
    points, obs_points = scattered(1, 400), scattered(2, 12)
    plan = plan_localization(points, np.arange(400) % 2, obs_points, 0, {(0, 0): None, (1, 0): taper_of()})
    again = LocalizationPlan.from_arrays(plan.to_arrays())
    given_arrays = ensembles(1, 5, 400, 12)
    np.testing.assert_array_equal(
        localized_increment(again, *given_arrays), localized_increment(plan, *given_arrays)
    )


def taper_of(**options):
    return DistanceTaper(**({"family": "gaspari_cohn", "lengths": (2.0, 2.0, None)} | options))


@pytest.mark.parametrize(
    "name", ["weights", "points", "obs", "obs_starts", "rule_starts", "n_state", "n_obs"]
)
def test_that_a_damaged_plan_is_refused(name):
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    arrays = plan.to_arrays()
    arrays[name] = arrays[name][:-1] if arrays[name].ndim else arrays[name] * 0
    with pytest.raises(DataError, match="belong together"):
        LocalizationPlan.from_arrays(arrays)
    del arrays[name]
    with pytest.raises(DataError, match=name):
        LocalizationPlan.from_arrays(arrays)


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


@pytest.mark.parametrize(
    ("name", "shape"), [("anomalies", (5, 41)), ("anomalies", (40,)), ("left", (4, 12)), ("right", (5, 11))]
)
def test_that_an_ensemble_that_does_not_fit_the_plan_is_refused(name, shape):
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    arrays = dict(zip(("anomalies", "left", "right"), ensembles(1, 5, 40, 12), strict=True))
    arrays[name] = np.zeros(shape)
    with pytest.raises(DataError, match=name):
        localized_increment(plan, **arrays)


@pytest.mark.parametrize("name", ["anomalies", "left", "right"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_that_what_is_not_finite_never_spreads(name, value):
    plan = plan_localization(scattered(1, 40), 0, scattered(2, 12), 0, {(0, 0): taper_of()})
    arrays = dict(zip(("anomalies", "left", "right"), ensembles(1, 5, 40, 12), strict=True))
    arrays[name][2, 3] = value
    with pytest.raises(DataError, match="not finite"):
        localized_increment(plan, **arrays)
