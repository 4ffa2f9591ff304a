from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.methods import DistanceLocality, EsMda
from daflow.methods.filters_global import TransformFilter, etkf_analysis
from daflow.methods.inflated import Inflated, InflatedSurveying, inflated_method
from daflow.methods.inflations import (
    AdaptivePrior,
    MultipliedPosterior,
    MultipliedPrior,
    Noise,
    RelaxedToPerturbations,
    RelaxedToSpread,
)
from daflow.methods.observed import Observed
from daflow.methods.spatial_inflation import SeenSpatially, SpatialPrior
from daflow.numerics.inflation.adaptive import (
    InflationEstimate,
    combined_inflation,
    inflation_of_innovations,
)
from daflow.numerics.inflation.fixed import (
    inflate_anomalies,
    inflate_variance,
    relax_to_anomalies,
    relax_to_spread,
)
from daflow.numerics.inflation.spatial import InflationField, update_inflation
from daflow.numerics.localization.distance import DistanceTaper, state_obs_taper, taper_by_kind
from daflow.numerics.obs_error.covariance import DiagonalCovariance
from daflow.ports import Prepared, SliceInput, SlicePoints, StepInput
from daflow.records import StateSlice
from tests.methods.in_slices import InSlices

N_MEMBERS, N_STATE, N_OBS = 9, 40, 6
RNG = np.random.default_rng(3)
PRIOR = 5 + RNG.standard_normal((N_MEMBERS, N_STATE))
PREDICTED = PRIOR[:, ::7] + 0.1 * RNG.standard_normal((N_MEMBERS, N_OBS))
VALUES = 5 + 2 * RNG.standard_normal(N_OBS)
VARIANCES = np.linspace(0.2, 0.9, N_OBS)
DIAGONAL = DiagonalCovariance(VARIANCES)
MEMBERS = (0, 1, 2, 4, 5, 7, 8, 11, 12)
PLACES = np.column_stack([np.arange(N_STATE, dtype=float), np.full((N_STATE, 2), np.nan)])
OBS_PLACES = PLACES[::7]
POINTS = SlicePoints(np.zeros(N_STATE, dtype=np.int64), PLACES)
NEAR = DistanceTaper("gaspari_cohn", (6.0, None, None))
CODES = np.zeros(N_OBS, dtype=np.int64)
RULES = {(0, 0): NEAR}
LOCAL = DistanceLocality("cross_covariance", OBS_PLACES, CODES, RULES)
CUTS = st.lists(st.integers(0, N_STATE), max_size=5).map(sorted)
ALPHAS = (4.0, 4.0, 2.0)


def es_mda(locality=None):
    return EsMda(ALPHAS, VALUES, DIAGONAL, 5, locality=locality)


def observed(step):
    return Observed(VALUES + step, DIAGONAL)


def adaptive(**changes):
    known = {"initial": InflationEstimate(1.2, 0.5), "forgetting": 1.1, "lower": 0.5, "upper": 9.0}
    return AdaptivePrior(observed, **(known | changes))


def seen_locally(step):
    return SeenSpatially(
        VALUES + step,
        VARIANCES,
        np.arange(N_OBS) + step,
        lambda points: taper_by_kind(points.coordinates, points.variable, OBS_PLACES, CODES, RULES),
        lambda some: taper_by_kind(OBS_PLACES[some], 0, OBS_PLACES, CODES, RULES),
    )


def seen_everywhere(step):
    return SeenSpatially(VALUES + step, VARIANCES, np.arange(N_OBS))


def spatial(seen=seen_everywhere, density="inverse_gamma", **changes):
    known = {"initial": 1.3, "deviations": (0.2, 0.6), "bounds": (0.7, 9.0), "damping": 0.8}
    return SpatialPrior(seen, density, **(known | changes))


NOISE = Noise(((0, 13, 0.5), (13, 20, 0.0), (20, N_STATE, 2.0)), 7)
OF_PRIOR = {
    "multiplicative": MultipliedPrior(1.4),
    "adaptive": adaptive(),
    "spatial": spatial(),
    "spatial gaussian": spatial(density="gaussian"),
    "spatial local": spatial(seen_locally),
}
OF_POSTERIOR = {
    "multiplicative": MultipliedPosterior(1.2),
    "RTPS": RelaxedToSpread(0.7),
    "RTPP": RelaxedToPerturbations(0.6),
    "noise": NOISE,
}
NOTHING = {
    "prior factor 1": ((MultipliedPrior(1.0)), ()),
    "posterior factor 1": (None, (MultipliedPosterior(1.0),)),
    "RTPS 0": (None, (RelaxedToSpread(0.0),)),
    "RTPP 0": (None, (RelaxedToPerturbations(0.0),)),
    "noise 0": (None, (Noise(((0, N_STATE, 0.0),), 7),)),
    "noise nowhere": (None, (Noise((), 7),)),
    "none": (None, ()),
    "adaptive held at 1": (adaptive(initial=InflationEstimate(1.0, 1.0), lower=1.0, upper=1.0), ()),
    "spatial held at 1": (spatial(initial=1.0, bounds=(1.0, 1.0)), ()),
    "all": (
        MultipliedPrior(1.0),
        (RelaxedToSpread(0.0), RelaxedToPerturbations(0.0), MultipliedPosterior(1.0)),
    ),
}


def steps_of(method, n_steps, cuts=(), prior=PRIOR, predicted=PREDICTED):
    """Return the last of some steps, each from the members that the one before left, and its figures."""
    run = InSlices(method, POINTS, cuts)
    for step in range(n_steps):
        prior, prepared = run.step(step, prior, predicted + 0.1 * step, MEMBERS)
    return prior, prepared, run


def one_step(method, prior=PRIOR, predicted=PREDICTED):
    return steps_of(method, 1, (), prior, predicted)[0]


def close(actual, expected, atol=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def anomalies(ensemble):
    return ensemble - ensemble.mean(axis=0)


@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize("locality", [None, LOCAL], ids=["global", "local"])
def test_that_what_does_nothing_changes_no_bit(case, locality):
    prior = PRIOR.copy()
    prior[:, 3] = -0.0
    plain, _, _ = steps_of(es_mda(locality), 2, [13], prior)
    found, _, _ = steps_of(inflated_method(es_mda(locality), *NOTHING[case]), 2, [13], prior)
    assert found.tobytes() == plain.tobytes()


@settings(max_examples=8)
@given(CUTS, st.sampled_from(list(OF_PRIOR)), st.sampled_from(list(OF_POSTERIOR)))
def test_that_slices_give_what_the_whole_gives(cuts, before, after):
    method = inflated_method(es_mda(), OF_PRIOR[before], (OF_POSTERIOR[after],))
    whole, _, kept = steps_of(method, 3)
    sliced, _, run = steps_of(method, 3, cuts)
    close(sliced, whole)
    for name, array in kept.carried[0].items():
        close(np.concatenate([run.carried[i][name] for i in sorted(run.carried)]), array)


@settings(max_examples=8)
@given(CUTS, st.sampled_from(["gain", "observation_error"]))
def test_that_slices_of_a_localized_method_give_what_the_whole_gives(cuts, tapers):
    locality = DistanceLocality(tapers, OBS_PLACES, CODES, RULES)
    method = inflated_method(es_mda(locality), spatial(seen_locally), tuple(OF_POSTERIOR.values()))
    close(steps_of(method, 2, cuts)[0], steps_of(method, 2)[0])


@settings(max_examples=8)
@given(st.floats(0.5, 2.0), st.booleans())
def test_that_an_inflated_prior_gives_what_the_method_gives_an_ensemble_that_was_inflated(factor, local):
    locality = LOCAL if local else None
    found = one_step(inflated_method(es_mda(locality), MultipliedPrior(factor)))
    close(
        found,
        one_step(es_mda(locality), inflate_anomalies(PRIOR, factor), inflate_anomalies(PREDICTED, factor)),
    )


def test_that_a_filter_s_posterior_covariance_is_that_of_the_inflated_prior():
    operator = np.random.default_rng(1).standard_normal((N_OBS, 5))
    prior = np.random.default_rng(2).standard_normal((N_MEMBERS, 5))
    where = SlicePoints(np.zeros(5, np.int64), np.full((5, 3), np.nan))
    method = inflated_method(TransformFilter(observed, 1, etkf_analysis), MultipliedPrior(1.5))
    posterior, _ = InSlices(method, where).step(0, prior, prior @ operator.T, MEMBERS)
    covariance = 1.5**2 * np.cov(prior.T)
    gain = covariance @ operator.T @ np.linalg.inv(operator @ covariance @ operator.T + DIAGONAL.dense())
    close(np.cov(posterior.T), covariance - gain @ operator @ covariance, 1e-10)


@settings(max_examples=8)
@given(st.floats(0.0, 1.5))
def test_that_relaxation_is_that_of_the_whole_arrays(strength):
    plain = one_step(es_mda())
    close(
        one_step(inflated_method(es_mda(), None, (RelaxedToSpread(strength),))),
        relax_to_spread(PRIOR, plain, strength),
    )
    close(
        one_step(inflated_method(es_mda(), None, (RelaxedToPerturbations(strength),))),
        relax_to_anomalies(PRIOR, plain, strength),
    )


def test_that_full_relaxation_gives_the_prior_s_spread_or_anomalies_and_the_posterior_s_mean():
    plain = one_step(es_mda())
    spread = one_step(inflated_method(es_mda(), None, (RelaxedToSpread(1.0),)))
    close(spread.std(axis=0), PRIOR.std(axis=0))
    mixed = one_step(inflated_method(es_mda(), None, (RelaxedToPerturbations(1.0),)))
    close(anomalies(mixed), anomalies(PRIOR))
    for found in (spread, mixed):
        close(found.mean(axis=0), plain.mean(axis=0))
        assert np.abs(found - plain).max() > 0.1


def test_that_relaxation_is_to_the_prior_that_the_method_was_given():
    method = inflated_method(es_mda(), MultipliedPrior(1.5), (RelaxedToSpread(1.0),))
    close(one_step(method).std(axis=0), 1.5 * PRIOR.std(axis=0))


def test_that_posterior_inflations_act_in_their_order():
    plain, widen, noise = one_step(es_mda()), MultipliedPosterior(2.0), NOISE
    drawn = one_step(inflated_method(es_mda(), None, (noise,))) - plain
    twice = inflate_anomalies(plain, 2.0)
    close(one_step(inflated_method(es_mda(), None, (widen, noise))), twice + drawn)
    close(one_step(inflated_method(es_mda(), None, (noise, widen))), twice + 2.0 * drawn)


@pytest.mark.parametrize("after", [*OF_POSTERIOR.values(), None], ids=[*OF_POSTERIOR, "none"])
@pytest.mark.parametrize("before", OF_PRIOR.values(), ids=OF_PRIOR)
def test_that_float32_gives_what_float64_gives_to_its_rounding(before, after):
    method = inflated_method(es_mda(), before, () if after is None else (after,))
    found, _, _ = steps_of(method, 2, [13], PRIOR.astype(np.float32))
    assert found.dtype == np.float32
    close(found, steps_of(method, 2, [13])[0], 2e-5)


def noise_on_zeros(noise, step, members, cuts=()):
    drawn = np.zeros((len(members), N_STATE))
    for where in InSlices(es_mda(), POINTS, cuts).slices():
        slab = drawn[:, where.start : where.stop]
        noise.inflate(SliceInput(step, where, members, {}, {}, {}), slab, None)
    return drawn


@settings(max_examples=20)
@given(CUTS, st.integers(0, 3))
def test_that_noise_is_the_same_whatever_the_slices(cuts, step):
    close(noise_on_zeros(NOISE, step, MEMBERS, cuts), noise_on_zeros(NOISE, step, MEMBERS), 1e-14)


@settings(max_examples=20)
@given(st.sets(st.integers(0, 8), min_size=2))
def test_that_members_that_stay_draw_the_same_noise_whoever_is_dropped(kept):
    rows = sorted(kept)
    stay = noise_on_zeros(NOISE, 1, [MEMBERS[row] for row in rows])
    together = noise_on_zeros(NOISE, 1, MEMBERS)[rows]
    # But for the mean of those that are there.
    close(stay, together - together.mean(axis=0), 1e-14)


def test_that_noise_has_the_deviation_that_was_asked_for_no_mean_and_is_fresh_each_step():
    members, deviation = range(400), np.repeat([0.5, 0.0, 2.0], [13, 7, 20])
    first, second = (noise_on_zeros(NOISE, step, members) for step in (0, 1))
    close(first.mean(axis=0), 0.0, 1e-14)
    # Five standard deviations of the standard deviation of 400 normals.
    assert (np.abs(first.std(axis=0) - deviation) <= 5 * deviation / np.sqrt(800)).all()
    drawn = deviation > 0
    assert (first != second)[:, drawn].all()
    assert not first[:, ~drawn].any()
    assert (noise_on_zeros(Noise(NOISE.spans, 8), 0, members) != first)[:, drawn].all()


def test_that_an_adaptive_factor_is_the_estimate_so_far_combined_with_the_step_s():
    run = InSlices(inflated_method(es_mda(), adaptive()), POINTS)
    estimate = InflationEstimate(1.2, 0.5)
    for step in range(3):
        predicted = PREDICTED + 0.3 * step
        seen = inflation_of_innovations(predicted, VALUES + step, DIAGONAL)
        estimate = combined_inflation(estimate, seen, growth=1.1)
        found, prepared = run.step(step, PRIOR, predicted, MEMBERS)
        assert prepared.figures["inflation"] == pytest.approx(estimate.factor)
        assert prepared.figures["inflation_std"] == pytest.approx(np.sqrt(estimate.variance))
        assert prepared.figures["inflation_of_step"] == pytest.approx(seen.factor)
        expected, _ = InSlices(es_mda(), POINTS).step(
            step,
            inflate_variance(PRIOR, estimate.factor),
            inflate_variance(predicted, estimate.factor),
            MEMBERS,
        )
        close(found, expected)


def test_that_an_adaptive_factor_keeps_to_its_bounds():
    far = adaptive(upper=1.3)
    assert steps_of(inflated_method(es_mda(), far), 1)[1].figures["inflation"] == 1.3
    hit = Observed(PREDICTED.mean(axis=0), DIAGONAL)
    near = AdaptivePrior(lambda _: hit, InflationEstimate(1.0, 10.0), 1.0, 0.9, 2.0)
    assert steps_of(inflated_method(es_mda(), near), 1)[1].figures["inflation"] == 0.9


def test_that_predictions_without_spread_leave_an_adaptive_factor_as_it_was():
    given = StepInput(0, MEMBERS, lambda a, b: np.ones((N_MEMBERS, b - a)), {})
    learnt = adaptive().learn(given)
    assert learnt.figures == {"inflation": 1.2, "inflation_std": np.sqrt(0.5)}


@pytest.mark.parametrize("needed", [1.0, 2.5])
def test_that_an_adaptive_factor_finds_by_how_much_the_spread_is_too_small(needed):
    rng, n_members, n_obs, n_steps = np.random.default_rng(4), 60, 200, 20
    values = np.sqrt(needed + 1.0) * rng.standard_normal((n_steps, n_obs))
    prior = AdaptivePrior(
        lambda step: Observed(values[step], DiagonalCovariance(np.ones(n_obs))),
        InflationEstimate(1.0, 1.0),
        forgetting=1.0,
        lower=0.5,
        upper=10.0,
    )
    before = {}
    for step in range(n_steps):
        predicted = rng.standard_normal((n_members, n_obs))
        learnt = prior.learn(StepInput(step, range(n_members), lambda a, b, y=predicted: y[:, a:b], before))
        before = learnt.arrays
    # The mean of 4000 squares of variance needed + 1: five standard deviations. The mean of 60 members is
    # off by 1 / 60 of their variance, which counts in the same way.
    margin = 5 * (needed + 1) * np.sqrt(2 / (n_steps * n_obs)) + 1 / n_members
    assert abs(learnt.figures["inflation"] - needed) < margin
    assert learnt.figures["inflation_std"] < 0.2


def dense_taper(points):
    return state_obs_taper(points, OBS_PLACES, NEAR).toarray()


@pytest.mark.parametrize("density", ["inverse_gamma", "gaussian"])
@pytest.mark.parametrize("local", [False, True])
def test_that_a_spatial_inflation_learns_what_the_whole_arrays_tell_through_two_steps(density, local):
    bounds, deviations, damping = (0.7, 9.0), (0.2, 0.6), 0.8
    seen = (
        (lambda step: SeenSpatially(**{**fields_of(seen_locally(step)), "places": np.arange(N_OBS)}))
        if local
        else seen_everywhere
    )
    run = InSlices(inflated_method(es_mda(), spatial(seen, density)), POINTS, [13, 13, 29])
    tapers = (dense_taper(PLACES), dense_taper(OBS_PLACES)) if local else (None, None)
    fields = [InflationField(np.full(n, 1.3), np.full(n, 0.6)) for n in (N_STATE, N_OBS)]
    for step in range(2):
        predicted, prior = PREDICTED + 0.3 * step, PRIOR + 0.1 * step
        found, prepared = run.step(step, prior, predicted, MEMBERS)
        used = [
            InflationField(np.clip(1 + (damping if step else 1) * (f.factor - 1), *bounds), f.deviation)
            for f in fields
        ]
        wide = [inflate_variance(e, f.factor) for e, f in zip((prior, predicted), used, strict=True)]
        close(found, InSlices(es_mda(), POINTS).step(step, *wide, MEMBERS)[0])
        assert prepared.figures["inflation"] == pytest.approx(used[1].factor.mean())
        for which, (ensemble, taper) in enumerate(zip((prior, predicted), tapers, strict=True)):
            learnt = update_inflation(
                used[which],
                ensemble,
                predicted,
                (VALUES + step, VARIANCES),
                density=density,
                state_obs_taper=taper,
            )
            fields[which] = InflationField(
                np.clip(learnt.factor, *bounds), np.clip(learnt.deviation, *deviations)
            )
        carried = [run.carried[i] for i in sorted(run.carried)]
        close(np.concatenate([one["inflation_factor"] for one in carried]), fields[0].factor, 1e-10)
        close(np.concatenate([one["inflation_std"] for one in carried]), fields[0].deviation, 1e-8)
        close(run.before["inflation_place_factor"], fields[1].factor, 1e-10)
    assert np.ptp(fields[0].factor) > 0.05


def fields_of(seen):
    return {name: getattr(seen, name) for name in SeenSpatially.__dataclass_fields__}


def test_that_a_place_that_is_observed_again_is_known_and_a_new_one_is_not():
    prior = spatial(seen_locally)
    first = prior.learn(StepInput(0, MEMBERS, lambda a, b: PREDICTED[:, a:b], {}))
    second = prior.learn(StepInput(1, MEMBERS, lambda a, b: PREDICTED[:, a:b], first.arrays))
    known = 1 + 0.8 * (first.arrays["inflation_place_factor"] - 1)
    close(second.arrays["inflation_predicted_factor"], [*known[1:], 1.3])
    assert second.arrays["inflation_places"].tolist() == list(range(N_OBS + 1))
    assert second.arrays["inflation_place_factor"][0] == known[0]


def test_that_a_spatial_factor_goes_back_to_one_where_nothing_is_observed():
    nowhere = spatial(
        lambda step: SeenSpatially(
            VALUES,
            VARIANCES,
            np.arange(N_OBS),
            lambda points: state_obs_taper(points.coordinates, OBS_PLACES + 1e3, NEAR),
        )
    )
    _, _, run = steps_of(inflated_method(es_mda(), nowhere), 3)
    close(run.carried[0]["inflation_factor"], 1 + 0.3 * 0.8**2)


@dataclass(frozen=True)
class Largest:
    """Divides by the largest prior number, which it has to look for; ends when it is small."""

    n_steps: int = 2

    def base(self, step):
        return step

    def prepare(self, given):
        return Prepared({"mean": given.predicted(0, 2).var(axis=0)}, {"own": 1.0})

    def localize(self, locate):
        return {"first": locate().coordinates[:1]}

    def survey(self, given, slab):
        assert not any(name.startswith("inflation") for name in (*given.factors, *given.carried))
        return {"largest": np.abs(slab).max()}

    def conclude(self, given, factors, found):
        spread = given.predicted(0, 2).var(axis=0)
        np.testing.assert_array_equal(spread, factors["mean"])
        largest = max(float(each["largest"]) for each in found)
        return Prepared({"largest": np.array(largest)}, last=largest < 10.0)

    def apply(self, given, slab):
        slab /= given.factors["largest"]
        return {"times": np.array(1 + int(given.carried.get("times", 0)))}


def test_that_a_method_surveys_the_inflated_prior_which_is_left_as_it_is():
    method = inflated_method(Largest(), MultipliedPrior(1.5), (MultipliedPosterior(2.0),))
    assert isinstance(method, InflatedSurveying)
    prior, run = PRIOR.copy(), InSlices(method, POINTS, [11, 30])
    found, prepared = run.step(0, prior, PREDICTED, MEMBERS)
    assert prior.tobytes() == PRIOR.tobytes()
    wide = inflate_anomalies(PRIOR, 1.5)
    close(found, inflate_anomalies(wide / np.abs(wide).max(), 2.0))
    assert prepared.last
    close(run.before["mean"], 1.5**2 * PREDICTED[:, :2].var(axis=0))
    run.step(1, found, PREDICTED, MEMBERS)
    assert run.carried[0]["times"] == 2


def test_that_a_method_without_surveys_has_none_when_it_is_inflated():
    class Plain:
        n_steps = 1

    method = inflated_method(Plain())
    assert type(method) is Inflated
    assert not hasattr(method, "survey")


def test_that_steps_their_start_and_their_end_are_the_method_s():
    method = inflated_method(es_mda(), MultipliedPrior(1.1))
    assert (method.n_steps, [method.base(step) for step in range(3)]) == (3, [0, 1, 2])
    prepared = method.prepare(StepInput(0, MEMBERS, lambda a, b: PREDICTED[:, a:b].copy(), {}))
    assert prepared.figures["alpha"] == 4.0
    assert not prepared.last


def test_that_where_a_slice_lies_is_asked_only_by_who_needs_it():
    def refuse():
        pytest.fail("nobody asks where")

    for before in (MultipliedPrior(1.1), adaptive(), spatial()):
        assert inflated_method(es_mda(), before).localize(refuse) == {}
    places = inflated_method(es_mda(LOCAL), spatial(seen_locally)).localize(lambda: POINTS)
    assert {"inflation_variable", "inflation_coordinates", "weights"} <= set(places)


def test_that_a_member_number_counts_and_not_its_row():
    where = StateSlice(0, 0, N_STATE)
    slabs = [np.zeros((2, N_STATE)) for _ in range(2)]
    for slab, members in zip(slabs, [(3, 8), (8, 3)], strict=True):
        NOISE.inflate(SliceInput(0, where, members, {}, {}, {}), slab, None)
    close(slabs[0], slabs[1][::-1], 1e-15)
