"""Laws of the plan: which points hear which observations."""

import numpy as np
import pytest
from hypothesis import given, settings

from daflow.errors import DataError
from daflow.numerics.localization.cell_planning import CELL_SIZE, plan_localization
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.distance import DistanceTaper, state_obs_taper
from tests.numerics.localization.tapers_by_hand import (
    close,
    dense_by_kind,
    mixed_rules,
    scattered,
    seeds,
    taper_of,
)


def weights_of(plan):
    """The weights that a plan holds (n, m)."""
    weights = np.zeros((plan.n_state, plan.n_obs))
    for group in plan.groups():
        for points, obs, block in group.tapered:
            weights[np.ix_(points, obs)] = block.T
        if group.untapered is not None:
            alone, obs, _ = group.untapered
            for points in (alone, *(cell[0] for cell in group.tapered)):
                weights[np.ix_(points, obs)] = 1.0
    return weights


def mixed(seed, n=900, m=30):
    rng = np.random.default_rng(seed)
    points, obs_points = scattered(seed, n), scattered(seed + 1, m)
    return points, rng.choice([3, 8], n), obs_points, rng.integers(0, 3, m), mixed_rules()


@given(seed=seeds)
@settings(max_examples=20)
def test_that_a_plan_holds_the_weight_of_every_pair(seed):
    given_arrays = mixed(seed)
    close(weights_of(plan_localization(*given_arrays)), dense_by_kind(*given_arrays))


@given(seed=seeds)
@settings(max_examples=10)
def test_that_a_point_that_hears_anything_is_in_one_cell(seed):
    *given_arrays, rules = mixed(seed)
    rules |= dict.fromkeys([(8, 0), (8, 1), (8, 2)], taper_of(lengths=(0.3, 0.5, None)))
    plan = plan_localization(*given_arrays, rules)
    loudest = dense_by_kind(*given_arrays, rules).max(axis=1)
    assert not (loudest > 0.0).all()
    inside = np.bincount(plan.points, minlength=900)
    # At the very edge of reach rounding decides: nobody misses a weight of 1e-15.
    told = (loudest == 0.0) | (loudest > 1e-12)
    np.testing.assert_array_equal(inside[told], loudest[told] > 0.0)
    assert inside.max() == 1


def test_that_points_that_hear_nothing_are_in_no_cell():
    taper = DistanceTaper("gaspari_cohn", (1.0, 1.0, None))
    points, obs_points = scattered(3, 500), np.array([[2.0, 2.0, np.nan]])
    plan = plan_localization(points, 0, obs_points, 0, {(0, 0): taper})
    near = np.hypot(*(points[:, :2] - 2.0).T) < 2.0
    np.testing.assert_array_equal(np.sort(plan.points), np.flatnonzero(near))


def test_that_nothing_in_reach_at_all_gives_an_empty_plan():
    points = scattered(3, 50)
    plan = plan_localization(points, 0, points[:4] + 1000.0, 0, {(0, 0): taper_of()})
    assert (plan.n_cells, plan.n_pairs) == (0, 0)


def test_that_a_variable_without_tapers_stores_one_cell_and_no_weights():
    nowhere = np.full((9000, 3), np.nan)
    plan = plan_localization(nowhere, 0, nowhere[:23], np.arange(23) % 2, {(0, 0): None, (0, 1): None})
    assert (plan.n_cells, plan.n_pairs) == (1, 0)


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
    plan = plan_localization(points, 0, points[:1], 0, {(0, 0): taper_of()})
    assert np.diff(plan.point_starts).max() <= CELL_SIZE
    assert plan.n_pairs == 1000


def test_that_a_plan_survives_being_taken_apart():
    plan = plan_localization(*mixed(1))
    again = LocalizationPlan.from_arrays(plan.to_arrays())
    for name, array in plan.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)


@pytest.mark.parametrize(
    "name", ["weights", "points", "obs", "obs_starts", "group_starts", "n_state", "n_obs"]
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


@pytest.mark.parametrize("name", ["point_starts", "obs_starts", "weight_starts", "group_starts", "points"])
def test_that_a_plan_whose_cells_overlap_is_refused(name):
    arrays = plan_localization(*mixed(1)).to_arrays()
    arrays[name][[1, 2]] = arrays[name][2 if name != "points" else 1]
    if name.endswith("starts"):
        arrays[name][1] = arrays[name][-1]
    with pytest.raises(DataError, match="belong together"):
        LocalizationPlan.from_arrays(arrays)
