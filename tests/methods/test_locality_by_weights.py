import tracemalloc
from dataclasses import replace
from functools import reduce
from operator import mul
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, DataError
from daflow.methods import DistanceLocality
from daflow.methods.filters_local import LocalTransformFilter
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_weighed import WeighedTransformFilter
from daflow.methods.locality import told
from daflow.methods.locality_by_function import FunctionLocality
from daflow.methods.locality_by_weights import WeighedLocality
from daflow.methods.observed import Observed
from daflow.numerics.inversion.updates import InversionSettings, perturbed_observation_update
from daflow.numerics.localization import weighing
from daflow.numerics.localization.correlation_tapers import (
    correlations,
    exponential_weights,
    shuffled_noise,
    shuffled_squares,
    tempered_weights,
    theoretical_noise,
    threshold_weights,
)
from daflow.numerics.localization.distance import DistanceTaper, obs_obs_taper, taper_by_kind
from daflow.numerics.localization.index_tapers import delta_taper, dropout_taper, radial_taper
from daflow.numerics.localization.nice_correction import choose_nice, nice_weights, survey_norms
from daflow.numerics.localization.pair_draws import pair_uniforms, shuffled_order
from daflow.numerics.localization.sampling_error import fisher_weights, power_weights
from daflow.numerics.obs_error.covariance import DenseCovariance, DiagonalCovariance
from daflow.numerics.smoothers.kalman_inversion import equivalent_alpha, perturbed_targets
from daflow.ports import SliceInput, SlicePoints
from daflow.records import StateSlice
from tests.methods.localized import Localized, update
from tests.numerics.localization.local_problems import plain_letkf, plain_local_analysis

GOLDEN = Path(__file__).parents[1] / "golden"
N_MEMBERS, N_STATE, N_OBS = 12, 43, 6
RNG = np.random.default_rng(11)
PRIOR = RNG.standard_normal((N_MEMBERS, N_STATE)) + 3.0
PREDICTED = PRIOR[:, ::8] + 0.3 * RNG.standard_normal((N_MEMBERS, N_OBS))
OBSERVED = RNG.standard_normal((N_MEMBERS, N_OBS))
DIAGONAL = DiagonalCovariance(np.linspace(0.2, 0.9, N_OBS))
DENSE = DenseCovariance(0.3 * np.eye(N_OBS) + 0.1)
SEED, STEP = 4, 3
BELONGS = np.arange(0, N_STATE, 8)
ROWS = np.arange(N_OBS)
CUTS = st.lists(st.integers(0, N_STATE), max_size=4).map(sorted)

PLACES = np.column_stack([np.arange(N_STATE, dtype=float), np.zeros(N_STATE), np.full(N_STATE, np.nan)])
VARIABLE = (np.arange(N_STATE) >= 25).astype(np.int64)
POINTS = SlicePoints(VARIABLE, PLACES)
OBS_PLACES = PLACES[::8]
KINDS = np.array([0, 1, 0, 1, 0, 1])
NEAR, FAR = DistanceTaper("gaspari_cohn", (9.0, 9.0, None)), DistanceTaper("step", (20.0, 20.0, None))
RULES = {(0, 0): NEAR, (0, 1): FAR, (1, 0): FAR, (1, 1): None}
BY_DISTANCE = taper_by_kind(PLACES, VARIABLE, OBS_PLACES, KINDS, RULES).toarray()
"""The plain weights of RULES."""


def by_dropout():
    return dropout_taper(
        (0, N_STATE), (N_STATE, N_OBS), 0.4, lambda places: pair_uniforms(SEED, STEP, places)
    )


def by_shuffled(weights):
    order = shuffled_order(SEED, STEP, N_MEMBERS)
    return lambda r: weights(r, shuffled_noise(shuffled_squares(PRIOR, PREDICTED, order)))


FAMILIES = {
    # name: (what weighs, the plain weights of the whole from its correlations)
    "delta": (weighing.by_delta(BELONGS), lambda r: np.equal.outer(np.arange(N_STATE), BELONGS) * 1.0),
    "delta of rows": (weighing.by_delta(ROWS), lambda r: delta_taper((0, N_STATE), N_OBS)),
    "radial": (weighing.by_radius(ROWS, 5.0), lambda r: radial_taper((0, N_STATE), N_OBS, 5.0)),
    "dropout": (weighing.by_dropout((N_STATE, N_OBS), 0.4, SEED), lambda r: by_dropout()),
    "power": (weighing.by_power(1.5), lambda r: power_weights(r, 1.5)),
    "power cut": (weighing.by_power(1.0, 0.2), lambda r: power_weights(r, 1.0, 0.2)),
    "fisher": (weighing.by_fisher(), lambda r: fisher_weights(r, N_MEMBERS)),
    "nice": (
        weighing.by_nice(1.0, "asymptotic"),
        lambda r: nice_weights(r, choose_nice(survey_norms(r, N_MEMBERS))),
    ),
    "threshold": (
        weighing.by_threshold("theory", SEED),
        lambda r: threshold_weights(r, theoretical_noise(N_MEMBERS)),
    ),
    "threshold shuffled": (weighing.by_threshold("shuffled", SEED), by_shuffled(threshold_weights)),
    "tempered": (weighing.by_tempering(0.3, SEED), lambda r: tempered_weights(r, 0.3)),
    "tempered shuffled": (weighing.by_tempering("shuffled", SEED), by_shuffled(tempered_weights)),
    "exponential": (weighing.by_exponential(0.35, 0.7, 8.0), exponential_weights),
}
any_family = pytest.mark.parametrize("family", FAMILIES)


def plain(tapers, weights, prior=PRIOR, predicted=PREDICTED, error=DIAGONAL, among=None):
    """The posterior by the dense formula of the whole."""
    if tapers == "observation_error":
        scale = np.sqrt(error.diagonal() * (len(prior) - 1.0))[:, np.newaxis]
        anomalies = (predicted - predicted.mean(axis=0)).T / scale
        return plain_local_analysis(weights, prior, anomalies, (OBSERVED - predicted).T / scale)
    x, y = prior - prior.mean(axis=0), predicted - predicted.mean(axis=0)
    own = y.T @ y / (len(prior) - 1) * (1.0 if among is None else among) + error.dense()
    cross = x.T @ y / (len(prior) - 1)
    gain = np.linalg.solve(own, (weights * cross).T if tapers == "cross_covariance" else cross.T).T
    return prior + (OBSERVED - predicted) @ (gain if tapers == "cross_covariance" else weights * gain).T


def localized(*weighings, tapers="gain", error=DIAGONAL, planned=(), obs_obs=False):
    return Localized(WeighedLocality(tapers, weighings, planned, obs_obs), OBSERVED, error)


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@any_family
@pytest.mark.parametrize("tapers", ["gain", "cross_covariance", "observation_error"])
@settings(max_examples=5)
@drawn(CUTS)
def test_that_slices_give_the_plain_formula_of_the_whole(family, tapers, cuts):
    weighing_, weights = FAMILIES[family]
    method = localized(weighing_, tapers=tapers)
    found, _ = update(method, PRIOR, PREDICTED, cuts, STEP)
    near(found, plain(tapers, weights(correlations(PRIOR, PREDICTED))))


@pytest.mark.parametrize("family", [name for name, (one, _) in FAMILIES.items() if one.among is not None])
@settings(max_examples=5)
@drawn(CUTS)
def test_that_observations_among_themselves_are_weighed_as_numbers_are(family, cuts):
    one = FAMILIES[family][0]
    own = {
        "delta": lambda r: np.eye(N_OBS),
        "delta of rows": lambda r: np.eye(N_OBS),
        "radial": lambda r: radial_taper((0, N_OBS), N_OBS, 5.0),
    }.get(family, FAMILIES[family][1])
    found, _ = update(localized(one, tapers="cross_covariance", obs_obs=True), PRIOR, PREDICTED, cuts, STEP)
    weights = FAMILIES[family][1](correlations(PRIOR, PREDICTED))
    among = own(correlations(PREDICTED, PREDICTED))
    near(found, plain("cross_covariance", weights, among=among))
    assert np.abs(found - plain("cross_covariance", weights)).max() > 1e-3


@pytest.mark.parametrize("family", [name for name, (one, _) in FAMILIES.items() if one.among is None])
def test_that_weights_that_observations_among_themselves_do_not_have_are_refused_with_the_reason(family):
    with pytest.raises(CombinationError, match="obs_obs: none"):
        update(localized(FAMILIES[family][0], obs_obs=True), PRIOR, PREDICTED)


@pytest.mark.parametrize("inversion", ["exact_woodbury", "subspace", "subspace_rescaled"])
def test_that_inversions_in_the_span_of_the_members_refuse_weights_among_observations(inversion):
    method = replace(
        localized(FAMILIES["power"][0], obs_obs=True), settings=InversionSettings(1.0, inversion)
    )
    with pytest.raises(CombinationError, match="obs-obs taper"):
        update(method, PRIOR, PREDICTED)


NOTHING = {
    "power": weighing.by_power(0.0),
    "nice": weighing.by_nice(0.0, "fisher"),
    "dropout": weighing.by_dropout((N_STATE, N_OBS), 1.0, SEED),
    "radial": weighing.by_radius(ROWS, 1e12),
    "threshold": weighing.by_threshold(0.0, SEED),
}


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize("tapers", ["gain", "cross_covariance"])
@pytest.mark.parametrize("error", [DIAGONAL, DENSE], ids=["diagonal", "dense"])
def test_that_weights_of_one_are_no_localization(name, tapers, error):
    found, _ = update(localized(NOTHING[name], tapers=tapers, error=error), PRIOR, PREDICTED)
    near(found, perturbed_observation_update(PRIOR, PREDICTED, OBSERVED, error))


@any_family
def test_that_a_product_with_ones_is_the_other(family):
    one = FAMILIES[family][0]
    alone, _ = update(localized(one), PRIOR, PREDICTED, [17], STEP)
    for pair in ((one, NOTHING["power"]), (NOTHING["power"], one)):
        near(update(localized(*pair), PRIOR, PREDICTED, [17], STEP)[0], alone)


def distance(tapers="gain", among=None):
    return DistanceLocality(tapers, OBS_PLACES, KINDS, RULES, among)


def weights_of_user(points, observations):
    apart = np.abs(points["x"][:, np.newaxis] - observations["x"])
    apart[points["variable"] == "second"] *= 0.5
    return np.clip(1.0 - apart / 12.0, 0.0, 1.0) * np.where(points["number"] == 0, 0.5, 1.0)[:, np.newaxis]


def of_user(tapers="gain", function=weights_of_user):
    table = {"name": np.array(list("abcdef")), "x": OBS_PLACES[:, 0]}
    return FunctionLocality(tapers, function, "weights_of_user", table, (("first", 0), ("second", 25)))


def plain_of_user():
    number = np.where(VARIABLE == 1, np.arange(N_STATE) - 25, np.arange(N_STATE))
    points = {"x": PLACES[:, 0], "number": number, "variable": np.array(["first", "second"])[VARIABLE]}
    return weights_of_user(points, {"x": OBS_PLACES[:, 0]})


PLANNED = {
    "distance": ((distance(),), BY_DISTANCE),
    "function": ((of_user(),), plain_of_user()),
    "both": ((distance(), of_user()), BY_DISTANCE * plain_of_user()),
    "both, turned round": ((of_user(), distance()), BY_DISTANCE * plain_of_user()),
}


@pytest.mark.parametrize("name", PLANNED)
@pytest.mark.parametrize("tapers", ["gain", "cross_covariance", "observation_error"])
@settings(max_examples=5)
@drawn(CUTS, st.lists(st.sampled_from(list(FAMILIES)), max_size=2))
def test_that_weights_of_products_multiply_whatever_the_slices(name, tapers, cuts, families):
    planned, weights = PLANNED[name]
    r = correlations(PRIOR, PREDICTED)
    weights = reduce(mul, [FAMILIES[each][1](r) for each in families], weights)
    method = localized(*(FAMILIES[each][0] for each in families), tapers=tapers, planned=planned)
    near(update(method, PRIOR, PREDICTED, cuts, STEP, POINTS)[0], plain(tapers, weights))


@settings(max_examples=10)
@drawn(CUTS, st.sampled_from(["gain", "cross_covariance", "observation_error"]))
def test_that_weights_of_a_user_s_function_give_the_plain_formula(cuts, tapers):
    method = Localized(of_user(tapers), OBSERVED, DIAGONAL)
    near(update(method, PRIOR, PREDICTED, cuts, 0, POINTS)[0], plain(tapers, plain_of_user()))


def _raises(points, observations):
    message = "no such river"
    raise LookupError(message)


BAD_FUNCTIONS = {
    "raises": (_raises, "no such river"),
    "wrong shape": (lambda points, observations: np.ones(3), "shape"),
    "out of range": (lambda points, observations: np.full((len(points["x"]), N_OBS), 1.5), "range"),
    "not finite": (lambda points, observations: np.full((len(points["x"]), N_OBS), np.nan), "finite"),
}


@pytest.mark.parametrize("case", BAD_FUNCTIONS)
def test_that_a_function_that_returns_no_weights_is_refused(case):
    function, said = BAD_FUNCTIONS[case]
    with pytest.raises(DataError, match=said):
        of_user(function=function).check()
    of_user().check()


AMONG = obs_obs_taper(OBS_PLACES, NEAR).toarray()


@settings(max_examples=10)
@drawn(CUTS, st.sampled_from(["gain", "cross_covariance"]))
def test_that_a_taper_of_distance_acts_among_observations_as_well(cuts, tapers):
    alone = Localized(distance(tapers, NEAR), OBSERVED, DIAGONAL)
    expected = plain(tapers, BY_DISTANCE, among=AMONG)
    near(update(alone, PRIOR, PREDICTED, cuts, 0, POINTS)[0], expected)
    product = localized(tapers=tapers, planned=(distance(tapers, NEAR),), obs_obs=True)
    near(update(product, PRIOR, PREDICTED, cuts, 0, POINTS)[0], expected)


def test_that_a_taper_of_infinite_reach_is_none():
    far = DistanceTaper("gaspari_cohn", (1e12, 1e12, None))
    everywhere = DistanceLocality("cross_covariance", OBS_PLACES, KINDS * 0, {(0, 0): far, (1, 0): far}, far)
    found, _ = update(Localized(everywhere, OBSERVED, DIAGONAL), PRIOR, PREDICTED, [5], 0, POINTS)
    near(found, perturbed_observation_update(PRIOR, PREDICTED, OBSERVED, DIAGONAL))


@any_family
@pytest.mark.parametrize("tapers", ["gain", "cross_covariance", "observation_error"])
def test_that_numbers_and_predictions_on_which_members_agree_stay_and_do_nothing(family, tapers):
    prior, predicted = PRIOR.copy(), PREDICTED.copy()
    prior[:, 7], predicted[:, 2] = 0.1, -7.3
    one = FAMILIES[family][0]
    found, _ = update(localized(one, tapers=tapers), prior, predicted, [20], STEP)
    assert np.isfinite(found).all()
    assert (found[:, 7] == 0.1).all()
    if one.among is not None and tapers != "observation_error":
        found, _ = update(localized(one, tapers=tapers, obs_obs=True), prior, predicted, [20], STEP)
        assert np.isfinite(found).all()


def test_that_dropout_is_drawn_anew_for_each_step_and_seed():
    one = localized(FAMILIES["dropout"][0])
    first, again, other = (update(one, PRIOR, PREDICTED, (), step)[0] for step in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert (first != other).any()
    reseeded = localized(weighing.by_dropout((N_STATE, N_OBS), 0.4, SEED + 1))
    assert (update(reseeded, PRIOR, PREDICTED, (), 1)[0] != first).any()


def test_that_float32_is_updated_as_float64_is_and_rounded_once():
    single = PRIOR.astype(np.float32)
    found, _ = update(localized(FAMILIES["nice"][0]), single, PREDICTED, [9])
    assert found.dtype == np.float32
    expected, _ = update(localized(FAMILIES["nice"][0]), single.astype(np.float64), PREDICTED, [9])
    np.testing.assert_allclose(found, expected, rtol=2e-7)


def load(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


CASES = ["ekp_p6_d5_J20", "ekp_p4_d9_J5", "ekp_p10_d10_J8", "ekp_p1_d1_J10"]
EPS = np.sqrt(np.finfo(float).eps)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("name", "one", "time_step", "noise"),
    [
        ("eki_noloc", weighing.by_power(0.0), 1.0, True),
        ("eki_nice", weighing.by_nice(1.0, "ekp_v2"), 1.0, False),
        ("eki_sec1_dt05", weighing.by_power(1.0), 0.5, True),
    ],
)
def test_that_localized_steps_of_inversion_meet_the_golden_numbers(case, name, one, time_step, noise):
    golden = load(case)
    prior, predicted, values = golden["u"].T, golden["g"].T, golden["y"]
    # There the root of eps stands on the diagonal of the predictions' covariance, and of the state's.
    error = DenseCovariance(golden["Gamma"] + time_step * EPS * np.eye(len(values)))
    eigenvalues, vectors = np.linalg.eigh(golden["Gamma"])
    root = vectors * np.sqrt(eigenvalues) @ vectors.T
    normals = np.linalg.solve(np.linalg.cholesky(golden["Gamma"]), root @ golden["noise"]).T
    targets = (
        perturbed_targets(values, golden["Gamma"], time_step, normals)
        if noise
        else np.broadcast_to(values, predicted.shape)
    )
    locality = WeighedLocality("cross_covariance", (one,), (), obs_obs=True)
    settings_ = InversionSettings(equivalent_alpha(time_step, len(prior)))
    posterior, factors = update(
        Localized(locality, targets, error, settings_), prior, predicted, [len(values) // 2]
    )
    expected = golden[name].T
    # There correlations are those of covariances with the root of eps added: 1e-8 less.
    assert np.abs(posterior - expected).max() <= 2e-7 * np.abs(expected).max()
    if name == "eki_nice":
        assert factors["localization_0_exponent"] == golden["nice_v2_gamma"][0]
        assert factors["localization_0_mix"] == pytest.approx(golden["nice_v2_alpha"][0])


@pytest.mark.parametrize(
    ("tapers", "one", "n_state"),
    [
        ("gain", weighing.by_threshold(0.3, SEED), 200_000),
        ("gain", weighing.by_nice(1.0, "asymptotic"), 20_000),
        ("observation_error", weighing.by_threshold("shuffled", SEED), 2_000),
    ],
)
def test_that_an_update_of_many_points_and_observations_takes_little_memory(tapers, one, n_state):
    n_members, n_obs = 10, 500
    rng = np.random.default_rng(0)
    prior = rng.standard_normal((n_members, n_state), np.float32)
    predicted, observed = rng.standard_normal((2, n_members, n_obs))
    locality = WeighedLocality(tapers, (one,))
    factors = locality.factors(predicted, observed, DiagonalCovariance(np.ones(n_obs)), InversionSettings())
    given = SliceInput(0, StateSlice(0, 0, n_state), range(n_members), factors, {}, {})
    tracemalloc.start()
    try:
        concluded = locality.conclude(factors, [locality.survey(given, prior)] if locality.surveys else [])
        locality.apply(replace(given, factors={**factors, **concluded}), prior)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Weights of all pairs would take 800, 80 and 8 MB.
    assert peak < {200_000: 40e6, 20_000: 20e6, 2_000: 7e6}[n_state]


def transformed(locality, cuts, points=POINTS):
    """The posterior of a local transform filter."""
    method = WeighedTransformFilter(
        lambda step: Observed(OBSERVED[0], DIAGONAL), 9, Networks((locality,), (0,) * 9)
    )
    return update(method, PRIOR, PREDICTED, cuts, STEP, points)[0]


def plain_transform(weights):
    scale = np.sqrt(DIAGONAL.diagonal() * (N_MEMBERS - 1.0))
    anomalies = (PREDICTED - PREDICTED.mean(axis=0)).T / scale[:, np.newaxis]
    return plain_letkf(weights, PRIOR, anomalies, (OBSERVED[0] - PREDICTED.mean(axis=0)) / scale)


@any_family
@settings(max_examples=5)
@drawn(CUTS)
def test_that_a_local_transform_filter_gives_the_plain_formula_of_the_whole(family, cuts):
    one, weights = FAMILIES[family]
    r = correlations(PRIOR, PREDICTED)
    near(transformed(WeighedLocality("observation_error", (one,)), cuts), plain_transform(weights(r)))
    product = WeighedLocality("observation_error", (one,), (distance("observation_error"), of_user()))
    near(transformed(product, cuts), plain_transform(weights(r) * BY_DISTANCE * plain_of_user()))


def test_that_a_local_transform_filter_with_weights_of_distance_alone_is_the_one_that_knows_them_before():
    alone = distance("observation_error")
    known = LocalTransformFilter(
        lambda step: Observed(OBSERVED[0], DIAGONAL), 9, Networks((alone,), (0,) * 9)
    )
    expected, _ = update(known, PRIOR, PREDICTED, [9], STEP, POINTS)
    near(transformed(WeighedLocality("observation_error", (), (alone,)), [9]), expected)


def test_that_what_surveys_came_to_is_told_in_single_numbers():
    r = correlations(PRIOR, PREDICTED)
    choice = choose_nice(survey_norms(r, N_MEMBERS))
    noise = shuffled_noise(shuffled_squares(PRIOR, PREDICTED, shuffled_order(SEED, STEP, N_MEMBERS)))
    both = localized(FAMILIES["tempered shuffled"][0], FAMILIES["power"][0], FAMILIES["nice"][0])
    _, concluded = update(both, PRIOR, PREDICTED, [20], STEP)
    figures = told({name: array for name, array in concluded.items() if "localization" in name}).figures
    assert figures == {
        "localization_0_noise_mean": pytest.approx(noise.mean()),
        "localization_2_exponent": choice.exponent,
        "localization_2_mix": pytest.approx(choice.weight),
    }
