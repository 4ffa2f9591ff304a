from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from daflow.errors import CombinationError, DataError
from daflow.numerics.inversion.inversions import INVERSIONS
from daflow.numerics.inversion.tapered_product import tapered_increment
from daflow.numerics.inversion.updates import (
    InversionSettings,
    global_transform,
    perturbed_observation_update,
    tapered_covariance_factors,
    tapered_gain_factors,
    tapered_gain_update,
)

GOLDEN = Path(__file__).parents[2] / "golden"
EXACT = [name for name in INVERSIONS if name != "subspace"]
any_inversion = pytest.mark.parametrize("inversion", INVERSIONS)
shapes = pytest.mark.parametrize("shape", [(12, 30, 5), (5, 30, 12), (2, 4, 3), (8, 1, 1)])
drawn = st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 12), st.integers(1, 12))


def ensemble(seed, n_members, n_state, n_obs):
    rng = np.random.default_rng(seed)
    prior = 3 + rng.standard_normal((n_members, n_state))
    predicted = prior @ rng.standard_normal((n_state, n_obs)) + rng.standard_normal((n_members, n_obs))
    observed = rng.standard_normal((n_members, n_obs))
    variances = rng.uniform(0.3, 2, n_obs)
    return prior, predicted, observed, variances


def close(actual, expected, rtol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


def smooth_taper(n_state, n_obs, reach=4.0):
    return np.maximum(0, 1 - np.abs(np.subtract.outer(np.arange(n_state), np.arange(n_obs))) / reach)


# --- golden trajectories ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["esmda_diag", "esmda_dense"])
@pytest.mark.parametrize("trajectory", ["traj_lin", "traj_nl"])
@pytest.mark.parametrize("inversion", EXACT)
def test_that_the_golden_trajectories_of_es_mda_are_followed(case, trajectory, inversion):
    with np.load(GOLDEN / f"{case}.npz") as arrays:
        golden = {name: arrays[name] for name in arrays.files}
    lower = np.linalg.cholesky(golden["R"])
    state = golden["X0"].T
    for step, alpha in enumerate(golden["alphas"]):
        linear = state @ golden["A"].T
        predicted = linear if trajectory == "traj_lin" else linear + 0.1 * linear**2
        observed = golden["d"] + np.sqrt(alpha) * golden["Z"][step].T @ lower.T
        state = perturbed_observation_update(
            state, predicted, observed, golden["R"], alpha=alpha, inversion=inversion
        )
        expected = golden[trajectory][step + 1].T
        assert np.abs(state - expected).max() <= 1e-9 * np.abs(expected).max()


# --- laws ------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(drawn, st.sampled_from(EXACT))
def test_that_all_exact_inversions_agree(sizes, inversion):
    given_ensemble = ensemble(*sizes)
    expected = perturbed_observation_update(*given_ensemble, inversion="naive")
    close(perturbed_observation_update(*given_ensemble, inversion=inversion), expected, 1e-10)


@any_inversion
@shapes
def test_that_r_to_infinity_gives_the_prior_and_the_identity(inversion, shape):
    prior, predicted, observed, variances = ensemble(0, *shape)
    close(
        perturbed_observation_update(prior, predicted, observed, 1e30 * variances, inversion=inversion),
        prior,
        1e-15,
    )
    settings_ = InversionSettings(inversion=inversion)
    close(global_transform(predicted, observed, 1e30 * variances, settings_), np.eye(shape[0]), 1e-15)


@any_inversion
@shapes
def test_that_permuting_the_members_permutes_the_posterior(inversion, shape):
    prior, predicted, observed, variances = ensemble(1, *shape)
    order = np.random.default_rng(2).permutation(shape[0])
    posterior = perturbed_observation_update(prior, predicted, observed, variances, inversion=inversion)
    permuted = perturbed_observation_update(
        prior[order], predicted[order], observed[order], variances, inversion=inversion
    )
    close(permuted, posterior[order], 1e-10)


@any_inversion
@shapes
def test_that_a_linear_map_of_the_state_commutes_with_the_update(inversion, shape):
    prior, *rest = ensemble(3, *shape)
    matrix = np.random.default_rng(4).standard_normal((shape[1], 7))
    posterior = perturbed_observation_update(prior, *rest, inversion=inversion)
    close(perturbed_observation_update(prior @ matrix, *rest, inversion=inversion), posterior @ matrix)


@any_inversion
@shapes
def test_that_alpha_and_r_count_by_their_product_only(inversion, shape):
    *arrays, variances = ensemble(5, *shape)
    inflated = perturbed_observation_update(*arrays, variances, alpha=2.5, inversion=inversion)
    close(perturbed_observation_update(*arrays, 2.5 * variances, inversion=inversion), inflated)


@pytest.mark.parametrize("inversion", EXACT)
@shapes
def test_that_the_units_of_the_observations_do_not_matter(inversion, shape):
    prior, predicted, observed, variances = ensemble(6, *shape)
    units = np.random.default_rng(7).uniform(0.01, 100, shape[2])
    expected = perturbed_observation_update(prior, predicted, observed, variances, inversion=inversion)
    scaled = perturbed_observation_update(
        prior, predicted * units, observed * units, variances * units**2, inversion=inversion
    )
    close(scaled, expected, 1e-9)


@pytest.mark.parametrize("truncation", [0.9, 0.5])
@pytest.mark.parametrize("inversion", ["rescaled", "subspace_rescaled"])
def test_that_the_units_do_not_matter_to_truncation_by_rescaled_modes(inversion, truncation):
    prior, predicted, observed, variances = ensemble(6, 6, 4, 9)
    units = np.random.default_rng(7).uniform(0.01, 100, 9)
    how = {"inversion": inversion, "truncation": truncation}
    expected = perturbed_observation_update(prior, predicted, observed, variances, **how)
    scaled = perturbed_observation_update(
        prior, predicted * units, observed * units, variances * units**2, **how
    )
    close(scaled, expected, 1e-10)


@any_inversion
@shapes
def test_that_a_gain_taper_of_ones_is_no_taper(inversion, shape):
    given_ensemble = ensemble(8, *shape)
    expected = perturbed_observation_update(*given_ensemble, inversion=inversion)
    ones = np.ones(shape[1:])
    close(tapered_gain_update(*given_ensemble, ones, InversionSettings(inversion=inversion)), expected, 1e-11)


@pytest.mark.parametrize("inversion", EXACT)
@shapes
def test_that_covariance_tapers_of_ones_are_no_taper(inversion, shape):
    given_ensemble = ensemble(8, *shape)
    expected = perturbed_observation_update(*given_ensemble, inversion=inversion)
    ones = np.ones(shape[1:])
    tapered = perturbed_observation_update(*given_ensemble, inversion=inversion, state_obs_taper=ones)
    close(tapered, expected, 1e-11)
    if not INVERSIONS[inversion].refuses_obs_obs_taper:
        ones = np.ones((shape[2], shape[2]))
        tapered = perturbed_observation_update(*given_ensemble, inversion=inversion, obs_obs_taper=ones)
        close(tapered, expected, 1e-10)


def test_that_tapering_the_gain_and_the_covariance_differ():
    given_ensemble = ensemble(9, 6, 10, 8)
    taper = smooth_taper(10, 8)
    on_gain = tapered_gain_update(*given_ensemble, taper)
    on_covariance = perturbed_observation_update(*given_ensemble, state_obs_taper=taper)
    assert np.abs(on_gain - on_covariance).max() > 0.01


def test_that_an_observation_out_of_reach_has_no_influence_under_a_tapered_gain():
    prior, predicted, observed, variances = ensemble(9, 6, 10, 8)
    taper = smooth_taper(10, 8)
    moved = observed.copy()
    moved[:, 0] += 100
    near = tapered_gain_update(prior, predicted, moved, variances, taper)
    far = tapered_gain_update(prior, predicted, observed, variances, taper)
    np.testing.assert_array_equal(near[:, 4:], far[:, 4:])
    assert np.abs(near[:, 0] - far[:, 0]).max() > 0.1


@any_inversion
@shapes
def test_that_the_transform_gives_what_the_update_gives_and_its_rows_sum_to_one(inversion, shape):
    prior, predicted, observed, variances = ensemble(10, *shape)
    settings_ = InversionSettings(alpha=1.3, inversion=inversion)
    transform = global_transform(predicted, observed, variances, settings_)
    expected = perturbed_observation_update(
        prior, predicted, observed, variances, alpha=1.3, inversion=inversion
    )
    close(transform @ prior, expected)
    close(transform.sum(axis=1), np.ones(shape[0]), 1e-13)


def test_that_the_transform_takes_an_obs_obs_taper():
    prior, predicted, observed, variances = ensemble(10, 5, 6, 7)
    taper = np.exp(-np.abs(np.subtract.outer(np.arange(7), np.arange(7))) / 2.0)
    expected = perturbed_observation_update(prior, predicted, observed, variances, obs_obs_taper=taper)
    given_taper = InversionSettings(obs_obs_taper=sparse.csr_array(taper))
    close(global_transform(predicted, observed, variances, given_taper) @ prior, expected)


@pytest.mark.parametrize("make", [tapered_covariance_factors, tapered_gain_factors])
@pytest.mark.parametrize("inversion", EXACT)
def test_that_slices_of_the_state_give_what_the_whole_gives(make, inversion):
    prior, predicted, observed, variances = ensemble(11, 7, 1100, 9)
    taper = smooth_taper(1100, 9, 30.0)
    settings_ = InversionSettings(inversion=inversion)
    if make is tapered_gain_factors:
        whole = tapered_gain_update(prior, predicted, observed, variances, taper, settings_)
    else:
        whole = perturbed_observation_update(
            prior, predicted, observed, variances, inversion=inversion, state_obs_taper=taper
        )
    left, right = make(predicted, observed, variances, settings_)
    for size in (1, 37, 600):
        for start in (0, 35, 500):
            part = slice(start, start + size)
            alone = prior[:, part] + right @ (taper[part] * (prior[:, part].T @ left)).T
            close(alone, whole[:, part])
            anomalies = prior[:, part] - prior[:, part].mean(axis=0)
            close(prior[:, part] + tapered_increment(anomalies, taper[part], left, right), whole[:, part])


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.coo_matrix, sparse.csc_array])
def test_that_a_sparse_taper_gives_what_the_dense_one_gives(form):
    given_ensemble = ensemble(12, 6, 1200, 40)
    taper = smooth_taper(1200, 40, 5.0)
    dense = perturbed_observation_update(*given_ensemble, state_obs_taper=taper)
    close(perturbed_observation_update(*given_ensemble, state_obs_taper=form(taper)), dense)
    close(tapered_gain_update(*given_ensemble, form(taper)), tapered_gain_update(*given_ensemble, taper))
    np.testing.assert_array_equal(dense[:, 100:], given_ensemble[0][:, 100:])


def test_that_the_mean_of_the_state_may_dwarf_its_spread():
    prior, *rest = ensemble(13, 6, 5, 4)
    expected = perturbed_observation_update(prior, *rest) - prior
    close(perturbed_observation_update(prior + 2.0**33, *rest) - 2.0**33 - prior, expected, 1e-5)


# --- degenerate ensembles --------------------------------------------------------------------------


@any_inversion
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e300])
def test_that_constant_predictions_change_nothing(inversion, constant):
    prior, _, _, variances = ensemble(14, 7, 5, 3)
    predicted, observed = np.full((7, 3), constant), np.ones((7, 3))
    arrays = (prior, predicted, observed, variances)
    np.testing.assert_array_equal(perturbed_observation_update(*arrays, inversion=inversion), prior)
    taper = np.full((5, 3), 0.5)
    tapered = perturbed_observation_update(*arrays, inversion=inversion, state_obs_taper=taper)
    np.testing.assert_array_equal(tapered, prior)
    np.testing.assert_array_equal(
        tapered_gain_update(*arrays, taper, InversionSettings(inversion=inversion)), prior
    )


@any_inversion
def test_that_a_state_in_which_all_members_agree_is_left_alone(inversion):
    prior, *rest = ensemble(15, 7, 5, 4)
    prior[:, 2] = 0.1
    posterior = perturbed_observation_update(prior, *rest, inversion=inversion)
    np.testing.assert_array_equal(posterior[:, 2], prior[:, 2])


@pytest.mark.parametrize("inversion", EXACT)
def test_that_a_prediction_without_spread_counts_as_not_there_with_independent_errors(inversion):
    prior, predicted, observed, variances = ensemble(16, 7, 5, 4)
    predicted[:, 1] = 0.3
    others = [0, 2, 3]
    with_it = perturbed_observation_update(prior, predicted, observed, variances, inversion=inversion)
    without = perturbed_observation_update(
        prior, predicted[:, others], observed[:, others], variances[others], inversion=inversion
    )
    close(with_it, without, 1e-11)


@any_inversion
def test_that_twin_members_stay_twins(inversion):
    prior, predicted, observed, variances = ensemble(17, 6, 5, 4)
    for array in (prior, predicted, observed):
        array[1] = array[0]
    posterior = perturbed_observation_update(prior, predicted, observed, variances, inversion=inversion)
    assert np.isfinite(posterior).all()
    close(posterior[0], posterior[1])


# --- refusals --------------------------------------------------------------------------------------

GOOD = dict(
    zip(("prior", "predicted", "perturbed_observations", "obs_error"), ensemble(0, 4, 3, 2), strict=True)
)
BAD = {
    "one member": (
        {name: GOOD[name][:1] for name in ("prior", "predicted", "perturbed_observations")},
        "two members",
    ),
    "nan in the prior": ({"prior": np.where(np.eye(4, 3), np.nan, 1.0)}, r"prior has 3 .* first at \[0, 0\]"),
    "inf in the predictions": ({"predicted": np.full((4, 2), np.inf)}, "predicted has 8"),
    "other number of members": ({"prior": np.ones((5, 3))}, r"prior has the wrong shape"),
    "other number of observations": ({"predicted": np.ones((4, 3))}, "predicted has the wrong shape"),
    "observations of another shape": ({"perturbed_observations": np.ones(2)}, "perturbed_observations has"),
    "prior of one axis": ({"prior": np.ones(4)}, "prior has the wrong shape"),
    "complex prior": ({"prior": np.ones((4, 3)) * 1j}, "real numbers"),
    "alpha zero": ({"alpha": 0.0}, "alpha must be positive"),
    "alpha nan": ({"alpha": np.nan}, "alpha"),
    "alpha a list": ({"alpha": [1.0]}, "alpha has the wrong shape"),
    "negative variance": ({"obs_error": [1.0, -1.0]}, "number 1"),
    "no observations": (
        {"predicted": np.ones((4, 0)), "perturbed_observations": np.ones((4, 0)), "obs_error": np.ones(0)},
        "empty",
    ),
    "taper shape": ({"state_obs_taper": np.ones((2, 3))}, "state-obs taper has the wrong shape"),
    "sparse taper shape": ({"state_obs_taper": sparse.eye_array(3)}, "state-obs taper has the wrong shape"),
    "nan in a sparse taper": (
        {"state_obs_taper": sparse.csr_array(np.full((3, 2), np.nan))},
        "stored numbers",
    ),
    "asymmetric taper": ({"obs_obs_taper": np.array([[1.0, 0.5], [0.0, 1.0]])}, "not symmetric"),
    "obs-obs taper shape": ({"obs_obs_taper": np.eye(3)}, "obs-obs taper has the wrong shape"),
}


@pytest.mark.parametrize("case", BAD)
def test_that_bad_input_is_refused_by_name(case):
    change, words = BAD[case]
    with pytest.raises(DataError, match=words):
        perturbed_observation_update(**(GOOD | change))


@any_inversion
@pytest.mark.parametrize(("scale", "variance"), [(1e200, 1.0), (1e200, 1e-300), (1.0, 1e-300)])
def test_that_an_overflow_is_an_error_and_never_nan(inversion, scale, variance):
    prior, predicted, observed, _ = ensemble(0, 4, 3, 6)
    arrays = (prior, scale * predicted, observed, np.full(6, variance))
    try:
        posterior = perturbed_observation_update(*arrays, inversion=inversion)
    except (DataError, CombinationError) as error:
        posterior, message = np.zeros(1), str(error)
    else:
        message = "overflows"
    assert np.isfinite(posterior).all()
    assert "overflows" in message or "dwarfs" in message


def test_that_settings_are_frozen():
    changed = replace(InversionSettings(), alpha=3.0)
    assert changed.alpha == 3.0
    with pytest.raises(AttributeError):
        changed.alpha = 2.0
