import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.methods.filters_local import LocalTransformFilter
from daflow.methods.filters_networks import Networks
from daflow.numerics.filters.ensemble_transform import (
    apply_transform,
)
from daflow.numerics.filters.filter_transforms import denkf, etkf, gain_inflated_enkf, recentred
from daflow.numerics.filters.finite_size import finite_size_enkf, jeffreys, mode_corrected
from daflow.numerics.filters.serial_filters import apply_serial, serial_factors
from daflow.numerics.inversion.updates import (
    perturbed_observation_update,
    tapered_gain_update,
)
from daflow.numerics.localization.distance import state_obs_taper
from daflow.numerics.obs_error.covariance import DiagonalCovariance, as_covariance
from tests.methods.filter_problems import (
    AMONG,
    CASES,
    DETERMINISTIC,
    DIAGONAL,
    ERRORS,
    EVERYWHERE,
    GOLDEN,
    KINDS,
    LOCALIZED,
    N_MEMBERS,
    N_OBS,
    N_STATE,
    OBS_PLACES,
    PLACES,
    PREDICTED,
    PRIOR,
    RULES,
    VALUES,
    VARIABLE,
    close,
    draws_of,
    give_draws,
    halfway,
    in_slices,
    letkf,
    networks,
    observe,
    perturbed,
    tapered_serial,
)
from tests.numerics.localization.local_problems import plain_letkf, plan_of

CUTS = st.lists(st.integers(0, N_STATE), max_size=5).map(sorted)
INDEPENDENT = ("letkf", "ensrf tapered", "eakf tapered")


def load(case):
    with np.load(GOLDEN / f"filt_{case}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def dense_taper(rules=RULES):
    taper = np.ones((N_STATE, N_OBS))
    for (variable, kind), rule in rules.items():
        if rule is not None:
            block = np.ix_(variable == VARIABLE, kind == KINDS)
            taper[block] = state_obs_taper(
                PLACES[variable == VARIABLE], OBS_PLACES[kind == KINDS], rule
            ).toarray()
    return taper


def taper_among():
    taper = np.empty((N_OBS, N_OBS))
    for (speaker, hearer), rule in AMONG.items():
        block = np.ix_(speaker == KINDS, hearer == KINDS)
        taper[block] = state_obs_taper(
            OBS_PLACES[speaker == KINDS], OBS_PLACES[hearer == KINDS], rule
        ).toarray()
    return taper


# What a method gives on slices is what the pure function gives on the whole.


GOLDEN_KEYS = {
    "etkf": "etkf",
    "denkf": "denkf",
    "ensrf": "esrf_serial",
    "eakf": "esrf_serial",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", GOLDEN_KEYS)
def test_that_deterministic_methods_meet_the_golden_analyses(name, case):
    golden, key = load(case), GOLDEN_KEYS[name]
    prior = golden["X"].T
    # The serial golden numbers are those of the variances alone.
    error = np.diag(golden["R"]) if key == "esrf_serial" else golden["R"]
    method = DETERMINISTIC[name](observe(golden["y"], as_covariance(error)))
    n_state = prior.shape[1]
    posterior = in_slices(method, [n_state // 2], prior, prior @ golden["H"].T)
    assert np.abs(posterior - golden[key].T).max() <= CASES[case] * np.abs(golden[key]).max()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("stochastic", perturbed("recentred")),
        ("stochastic_norecentre", perturbed("raw")),
        ("zeta01", perturbed("raw", 1 / 1.1)),
    ],
)
def test_that_perturbing_methods_meet_the_golden_analyses(monkeypatch, key, make, case):
    golden = load(case)
    error = as_covariance(golden["R"])
    draws = error.colour(golden["Z"].T)
    give_draws(monkeypatch, draws)
    prior = golden["X"].T
    posterior = in_slices(make(observe(golden["y"], error)), [1], prior, prior @ golden["H"].T)
    assert np.abs(posterior - golden[key].T).max() <= CASES[case] * np.abs(golden[key]).max()


class GivenWeights:
    """Localization by weights (n_state, n_obs); a point's x is its number."""

    surveys = False

    def __init__(self, weights):
        self.weights = weights

    def plan(self, points):
        return plan_of(self.weights[points.coordinates[:, 0].astype(int)]).to_arrays()


@pytest.mark.parametrize("case", CASES)
def test_that_the_local_filter_meets_the_golden_analyses(case):
    golden = load(case)
    prior, n_state = golden["X"].T, len(golden["X"])
    method = LocalTransformFilter(
        observe(golden["y"], DiagonalCovariance(np.diag(golden["R"]))),
        1,
        Networks((GivenWeights(golden["letkf_rho"]),), (0,)),
    )
    posterior = in_slices(method, [n_state // 2], prior, prior @ golden["H"].T)
    tolerance = 1e-6 if case.endswith("ill") else 1e-8
    assert np.abs(posterior - golden["letkf"].T).max() <= tolerance * np.abs(golden["letkf"]).max()


FINITE = {
    "enkf_n": {"hyperprior": jeffreys, "root": "hessian"},
    "enkf_n corrected": {"hyperprior": mode_corrected(1.5), "root": "inflated"},
}


@settings(max_examples=10)
@given(CUTS, st.sampled_from(list(ERRORS.values())))
def test_that_slices_give_what_the_transform_filters_give_on_the_whole(cuts, error):
    whole = {
        "etkf": etkf(PREDICTED, VALUES, error),
        "denkf": denkf(PREDICTED, VALUES, error),
        **{
            name: finite_size_enkf(PREDICTED, VALUES, error, **chosen).transform
            for name, chosen in FINITE.items()
        },
    }
    for name, transform in whole.items():
        found = in_slices(DETERMINISTIC[name](observe(error=error)), cuts)
        # The precision of the finite-size filter comes from a search.
        close(found, apply_transform(transform, PRIOR), 1e-10 if name in FINITE else 1e-12)


@settings(max_examples=10)
@given(CUTS, st.sampled_from(["ensrf", "eakf"]), st.sampled_from(list(ERRORS.values())))
def test_that_slices_give_what_serial_filters_give_on_the_whole(cuts, scheme, error):
    found = in_slices(DETERMINISTIC[scheme](observe(error=error)), cuts)
    whitened = serial_factors(error.whiten(PREDICTED), error.whiten(VALUES), np.ones(N_OBS), scheme=scheme)
    close(found, apply_serial(whitened, PRIOR))


@settings(max_examples=10)
@given(CUTS, st.sampled_from(list(ERRORS.values())), st.sampled_from(["exact_cholesky", "rescaled"]))
def test_that_slices_give_what_perturbing_filters_give_on_the_whole(cuts, error, inversion):
    drawn = draws_of(error, 1)
    for centring, draws in (("raw", drawn), ("recentred", recentred(drawn))):
        method = perturbed(centring, 1 / 1.3, inversion)(observe(error=error))
        whole = gain_inflated_enkf(PREDICTED, VALUES, error, draws, 0.3)
        close(in_slices(method, cuts, step=1), apply_transform(whole, PRIOR))


@settings(max_examples=10)
@given(CUTS)
def test_that_slices_give_what_tapered_updates_give_on_the_whole(cuts):
    drawn = recentred(draws_of(DIAGONAL, 0))
    half = 0.5 * (PREDICTED - PREDICTED.mean(axis=0))
    taper = dense_taper()
    for added, make in ((drawn, lambda n: perturbed("recentred", networks=n)), (half, halfway)):
        whole = perturbed_observation_update(
            PRIOR, PREDICTED, VALUES + added, DIAGONAL, state_obs_taper=taper
        )
        close(in_slices(make(networks("cross_covariance"))(observe()), cuts), whole)
        whole = tapered_gain_update(PRIOR, PREDICTED, VALUES + added, DIAGONAL, taper)
        close(in_slices(make(networks("gain"))(observe()), cuts), whole)


@settings(max_examples=10)
@given(CUTS)
def test_that_slices_give_what_the_local_filters_give_point_by_point(cuts):
    scale = np.sqrt(DIAGONAL.diagonal() * (N_MEMBERS - 1.0))
    anomalies = (PREDICTED - PREDICTED.mean(axis=0)) / scale
    innovation = (VALUES - PREDICTED.mean(axis=0)) / scale
    close(in_slices(letkf()(observe()), cuts), plain_letkf(dense_taper(), PRIOR, anomalies.T, innovation))
    for scheme in ("ensrf", "eakf"):
        factors = serial_factors(
            PREDICTED, VALUES, DIAGONAL.diagonal(), scheme=scheme, obs_obs_taper=taper_among()
        )
        close(in_slices(tapered_serial(scheme)(observe()), cuts), apply_serial(factors, PRIOR, dense_taper()))


@settings(max_examples=30)
@given(CUTS, st.sampled_from(sorted(EVERYWHERE | LOCALIZED)))
def test_that_it_does_not_matter_how_the_state_is_cut(cuts, name):
    method = (EVERYWHERE | LOCALIZED)[name](observe())
    close(in_slices(method, cuts), in_slices(method))
