import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.distance import DistanceTaper, state_obs_taper
from daflow.numerics.localization.given_weights import plan_of_weights, ring_distance
from daflow.numerics.localization.letkf import add_letkf_analysis
from daflow.numerics.localization.localized_update import add_tapered_increment

TAPER = DistanceTaper("gaspari_cohn", (0.3, 0.3, None))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 30))
def test_that_weights_of_a_taper_update_as_the_plan_of_the_taper_does(seed, n_state, n_obs):
    rng = np.random.default_rng(seed)
    points, obs_points = rng.random((n_state, 3)), rng.random((n_obs, 3))
    prior, anomalies, right = (rng.standard_normal(shape) for shape in ((5, n_state), (n_obs, 5), (n_obs, 5)))
    plans = (
        plan_localization(points, 0, obs_points, 0, {(0, 0): TAPER}),
        plan_of_weights(state_obs_taper(points, obs_points, TAPER).toarray()),
    )
    for update, second in ((add_tapered_increment, right), (add_letkf_analysis, right[:, 0])):
        slabs = [prior.copy(), prior.copy()]
        for plan, slab in zip(plans, slabs, strict=True):
            update(plan, slab, anomalies, second)
        np.testing.assert_allclose(slabs[1], slabs[0], rtol=0, atol=1e-12 * np.abs(slabs[0]).max())


def test_that_points_without_weight_are_in_no_cell():
    weights = np.zeros((150, 4))
    weights[3, 1] = weights[149, 2] = 0.5
    plan = plan_of_weights(weights)
    assert plan.n_cells == 2
    assert plan.points.tolist() == [3, 149]
    assert plan.obs.tolist() == [1, 2]
    assert plan_of_weights(np.zeros((3, 2))).n_cells == 0


@pytest.mark.parametrize("weight", [-0.1, 1.1, np.nan])
def test_that_weights_out_of_range_are_refused(weight):
    with pytest.raises(DataError, match="weight"):
        plan_of_weights(np.array([[0.5, weight]]))


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_that_a_ring_is_the_same_from_everywhere(n):
    distance = ring_distance(n)
    np.testing.assert_array_equal(distance, distance.T)
    np.testing.assert_array_equal(np.roll(distance, (1, 1), (0, 1)), distance)
    assert distance.max() == n // 2
    assert distance[0].tolist() == [min(i, n - i) for i in range(n)]
