"""Filters as methods, and what to try them on."""

from pathlib import Path

import numpy as np

from daflow.methods.filters_global import (
    FiniteSizeAnalysis,
    RandomRotation,
    SerialAnalysis,
    TransformFilter,
    etkf_analysis,
)
from daflow.methods.filters_local import LocalSerialFilter, LocalTransformFilter, Network
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_perturbed import Halfway, Perturbed, PerturbedFilter
from daflow.methods.locality_by_distance import DistanceLocality
from daflow.methods.observed import Observed
from daflow.numerics.filters.finite_size import jeffreys, mode_corrected
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.numerics.observations.perturbations import Perturbations
from daflow.ports import SlicePoints
from tests.methods.in_slices import InSlices

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {"n8_m5_N6": 1e-8, "n3_m6_N20": 1e-8, "n4_m1_N2": 1e-8, "n40_m40_N10": 1e-8, "n5_m4_N7_ill": 1e-5}
SEED = 5
N_MEMBERS, N_STATE, N_OBS = 9, 40, 6
RNG = np.random.default_rng(3)
PRIOR = RNG.standard_normal((N_MEMBERS, N_STATE))
PREDICTED = PRIOR[:, ::7] + 0.1 * RNG.standard_normal((N_MEMBERS, N_OBS))
VALUES = RNG.standard_normal(N_OBS)
DIAGONAL = DiagonalCovariance(np.linspace(0.2, 0.9, N_OBS))
ERRORS = {
    "diagonal": DIAGONAL,
    "dense": DenseCovariance(0.3 * np.eye(N_OBS) + 0.1),
    "block": BlockDiagonalCovariance([np.array([[1.0, 0.4], [0.4, 0.5]]), 0.3 * np.eye(N_OBS - 2) + 0.1]),
    "low_rank": LowRankPlusDiagonalCovariance(RNG.standard_normal((N_OBS, 2)), np.linspace(0.2, 0.9, N_OBS)),
}
MEMBERS = (0, 1, 2, 4, 5, 7, 8, 11, 12)
PLACES = np.column_stack([np.arange(N_STATE, dtype=float), np.zeros(N_STATE), np.full(N_STATE, np.nan)])
VARIABLE = (np.arange(N_STATE) >= 25).astype(np.int64)
OBS_PLACES = np.column_stack([np.arange(0.0, N_STATE, 7), np.zeros(N_OBS), np.full(N_OBS, np.nan)])
KINDS = np.array([0, 1, 0, 1, 0, 1])
NEAR = DistanceTaper("gaspari_cohn", (6.0, 6.0, None))
FAR = DistanceTaper("step", (20.0, 20.0, None))
RULES = {(0, 0): NEAR, (0, 1): FAR, (1, 0): FAR, (1, 1): None}
AMONG = {(0, 0): NEAR, (0, 1): NEAR, (1, 0): FAR, (1, 1): FAR}


def transforms(analysis, rotate=None):
    def make(observed, n_steps=3):
        return TransformFilter(observed, n_steps, analysis, **({} if rotate is None else {"rotate": rotate}))

    return make


def perturbed(centring, alpha=1.0, inversion="exact_cholesky", networks=None):
    def make(observed, n_steps=3):
        settings = InversionSettings(alpha, inversion)
        return PerturbedFilter(observed, n_steps, Perturbed(SEED, centring), settings, networks)

    return make


def halfway(networks=None):
    return lambda observed, n_steps=3: PerturbedFilter(observed, n_steps, Halfway(), networks=networks)


def networks(tapers, rules=RULES, n_steps=3):
    return Networks((DistanceLocality(tapers, OBS_PLACES, KINDS, rules),), (0,) * n_steps)


def letkf(rules=RULES):
    return lambda observed, n_steps=3: LocalTransformFilter(
        observed, n_steps, networks("observation_error", rules, n_steps)
    )


def tapered_serial(scheme, rules=RULES, among=AMONG):
    return lambda observed, n_steps=3: LocalSerialFilter(
        observed,
        n_steps,
        networks("cross_covariance", rules, n_steps),
        scheme,
        (Network(OBS_PLACES, KINDS, among),),
    )


DETERMINISTIC = {
    "etkf": transforms(etkf_analysis),
    "denkf": halfway(),
    "ensrf": transforms(SerialAnalysis("ensrf")),
    "eakf": transforms(SerialAnalysis("eakf")),
    "enkf_n": transforms(FiniteSizeAnalysis(jeffreys, "hessian")),
    "enkf_n corrected": transforms(FiniteSizeAnalysis(mode_corrected(1.5), "inflated")),
}
DRAWING = {
    "enkf": perturbed("recentred"),
    "enkf raw": perturbed("raw"),
    "enkf truncating": perturbed("raw", inversion="subspace_rescaled"),
    "gain_inflated_enkf": perturbed("recentred", 1 / 1.3),
    "etkf rotated": transforms(etkf_analysis, RandomRotation(SEED)),
}
LOCALIZED = {
    f"{name} {tapers}": make(networks=networks(tapers))
    for tapers in ("gain", "cross_covariance", "observation_error")
    for name, make in {
        "enkf": lambda networks: perturbed("recentred", networks=networks),
        "gain_inflated_enkf": lambda networks: perturbed("raw", 1 / 1.3, networks=networks),
        "denkf": halfway,
    }.items()
} | {
    "letkf": letkf(),
    "ensrf tapered": tapered_serial("ensrf"),
    "eakf tapered": tapered_serial("eakf"),
}
PERTURBING = [name for name in DRAWING if not name.startswith("etkf")]
NOT_DRAWING = [*DETERMINISTIC, "etkf rotated"]
EVERYWHERE = DETERMINISTIC | DRAWING
"""The filters without localization."""


def observe(values=VALUES, error=DIAGONAL):
    return lambda _: Observed(values, error)


def in_slices(method, cuts=(), prior=PRIOR, predicted=PREDICTED, step=0, members=None):
    n_state = prior.shape[1]
    points = SlicePoints(VARIABLE[:n_state], PLACES[:n_state])
    chosen = MEMBERS if members is None and len(prior) == N_MEMBERS else members
    return InSlices(method, points, cuts).step(step, prior, predicted, chosen)[0]


def prepare_anew(method, prior, predicted, step=0):
    """Return the posterior and what was prepared."""
    points = SlicePoints(VARIABLE[: prior.shape[1]], PLACES[: prior.shape[1]])
    return InSlices(method, points).step(step, prior, predicted)


def draws_of(error, step):
    """The draws of the errors that the members of a step get."""
    perturb = Perturbations(np.zeros(N_OBS), error, SEED).begin(step, MEMBERS, 1.0)
    return np.concatenate([perturb(where, part) for where, part in error.parts(N_OBS)], axis=1)


class GivenDraws:
    """Draws (n_members, n_obs) in the place of those that are addressed."""

    def __init__(self, draws):
        self.draws = draws

    def begin(self, step, members, alpha):
        return lambda where, part: self.draws[:, where]


def give_draws(monkeypatch, draws):
    monkeypatch.setattr("daflow.methods.filters_perturbed.Perturbations", lambda *_: GivenDraws(draws))


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))
