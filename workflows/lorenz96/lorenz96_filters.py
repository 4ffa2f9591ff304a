"""The filters that are compared, each at its setting, and what others found for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from lorenz96_twin import N, model

from daflow.names import Purpose
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.cycling import Analysis, Stage, filtering, iterating
from daflow.numerics.filters.ensemble_transform import (
    EnsembleTransform,
    apply_transform,
    mean_preserving_rotation,
    rotated,
)
from daflow.numerics.filters.filter_transforms import denkf, etkf, recentred, stochastic_enkf
from daflow.numerics.filters.finite_size import finite_size_enkf, mode_corrected
from daflow.numerics.filters.serial_filters import apply_serial, serial_factors
from daflow.numerics.inflation.fixed import inflate_anomalies
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.given_weights import plan_of_weights, ring_distance
from daflow.numerics.localization.letkf import add_letkf_analysis, letkf_factors
from daflow.numerics.localization.tapers import gaspari_cohn

VARIANCES: Final = np.ones(N)
DROPPED: Final = 1e-3
"""Weights up to it count as zero."""
HALF_SUPPORT: Final = 1.82
"""Of the taper of Gaspari & Cohn, in standard deviations of the Gaussian that it resembles."""

MEASURED: Final = "mean of 20 runs of 10,000 cycles, another implementation"
DAPPER_RUN: Final = "DAPPER 1.7.1, mean of 3 runs of 5,000 cycles"
DAPPER_SHORT_RUN: Final = "DAPPER 1.7.1, mean of 3 runs of 1,000 cycles"

Transform = Callable[[FloatArray, FloatArray, FloatArray], EnsembleTransform]


@dataclass(frozen=True)
class Reference:
    """What others found for the mean over time of the analysis' error."""

    rmse: float
    source: str
    tolerance: float = 0.01


@dataclass(frozen=True)
class Scheme:
    """A filter at its setting."""

    label: str
    setting: str
    n_members: int
    stage: Callable[[int], Stage]
    """From a seed to what happens between two times of observation."""
    reference: Reference | None
    every_steps: int = 1
    """Time steps between observations."""


def rotation(seed: int, number: int, n_members: int) -> FloatArray:
    """Return the rotation of a time: the same whenever it is asked for."""
    draws = stream(seed, Purpose.ROTATION, number).standard_normal((n_members - 1, n_members - 1))
    return mean_preserving_rotation(draws)


def treated(analysis: Analysis, factor: float, seed: int | None = None) -> Stage:
    """Return the stage of a filter whose analysis has its anomalies multiplied and, with a seed, rotated."""

    def analyse(number: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
        posterior = inflate_anomalies(analysis(number, forecast, observed), factor)
        if seed is None:
            return posterior
        anomalies = anomalies_of(posterior)
        return posterior + rotation(seed, number, len(posterior)) @ anomalies - anomalies

    return filtering(model(), analyse)


def by_transform(transform: Transform) -> Analysis:
    """Return the analysis of a filter without draws."""
    return lambda _, forecast, observed: apply_transform(transform(forecast, observed, VARIANCES), forecast)


def perturbed(seed: int) -> Analysis:
    """Return the analysis of the EnKF with perturbed observations, centred and rescaled."""

    def analyse(number: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
        draws = stream(seed, Purpose.OBSERVATION_PERTURBATION, number).standard_normal(forecast.shape)
        return apply_transform(stochastic_enkf(forecast, observed, VARIANCES, recentred(draws)), forecast)

    return analyse


def finite_size(certainty: float | None = None) -> Transform:
    """Return the transform of the finite-size filter: as first published, or as in DAPPER."""
    if certainty is None:
        return lambda *given: finite_size_enkf(*given).transform
    hyperprior = mode_corrected(certainty)
    return lambda *given: finite_size_enkf(*given, hyperprior=hyperprior, root="inflated").transform


def serial(scheme: str, seed: int, weights: FloatArray | None = None) -> Analysis:
    """Return the analysis of a filter that takes the observations one by one, in an order drawn each time."""

    def analyse(number: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
        order = stream(seed, Purpose.LOCALIZATION, number).permutation(N)
        taper = None if weights is None else weights[np.ix_(order, order)]
        factors = serial_factors(
            forecast[:, order], observed[order], VARIANCES, scheme=scheme, obs_obs_taper=taper
        )
        return apply_serial(factors, forecast, None if weights is None else weights[:, order])

    return analyse


def local(plan: LocalizationPlan) -> Analysis:
    """Return the analysis of the local ensemble transform Kalman filter."""

    def analyse(_: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
        posterior = forecast.copy()
        add_letkf_analysis(plan, posterior, *letkf_factors(forecast, observed, VARIANCES))
        return posterior

    return analyse


def ring_weights(radius: float) -> FloatArray:
    """Return weights (40, 40) that fall along the ring about as a Gaussian of that deviation does."""
    weights = gaspari_cohn(ring_distance(N) / (HALF_SUPPORT * radius))
    return np.where(weights > DROPPED, weights, 0.0)


def iterative(seed: int, factor: float, every_steps: int, most: int) -> Stage:
    """Return the stage of the IEnKS with a lag of one and so many iterations at most."""

    def widen(number: int, transform: EnsembleTransform) -> EnsembleTransform:
        turned = rotated(transform, rotation(seed, number, len(transform.mean_weights)))
        return EnsembleTransform(turned.mean_weights, factor * turned.anomaly_transform)

    return iterating(model(every_steps), VARIANCES, widen, most=most)


SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        "enkf": Scheme(
            "stochastic EnKF",
            "inflation 1.06",
            40,
            lambda seed: treated(perturbed(seed), 1.06),
            Reference(0.2191, MEASURED),
        ),
        "etkf": Scheme(
            "ETKF",
            "inflation 1.02, rotated",
            28,
            lambda seed: treated(by_transform(etkf), 1.02, seed),
            Reference(0.1787, MEASURED),
        ),
        "denkf": Scheme(
            "DEnKF",
            "inflation 1.01",
            40,
            lambda _: treated(by_transform(denkf), 1.01),
            Reference(0.1806, MEASURED),
        ),
        "ensrf": Scheme(
            "EnSRF, serial",
            "inflation 1.02, rotated",
            28,
            lambda seed: treated(serial("ensrf", seed), 1.02, seed),
            Reference(0.1787, MEASURED),
        ),
        "eakf": Scheme(
            "EAKF, serial",
            "inflation 1.02, rotated",
            28,
            lambda seed: treated(serial("eakf", seed), 1.02, seed),
            Reference(0.1787, MEASURED),
        ),
        "local_eakf": Scheme(
            "EAKF, serial, local",
            "inflation 1.07, rotated, radius 6",
            7,
            lambda seed: treated(serial("eakf", seed, ring_weights(6)), 1.07, seed),
            Reference(0.2263, MEASURED),
        ),
        "letkf": Scheme(
            "LETKF",
            "inflation 1.04, rotated, radius 4",
            7,
            lambda seed: treated(local(plan_of_weights(ring_weights(4))), 1.04, seed),
            Reference(0.2153, MEASURED),
        ),
        "enkf_n": Scheme(
            "EnKF-N, mode corrected",
            "rotated",
            24,
            lambda seed: treated(by_transform(finite_size(1.0)), 1.0, seed),
            Reference(0.218, DAPPER_RUN),
        ),
        "enkf_n_certain": Scheme(
            "EnKF-N, certainty 2",
            "mode corrected, rotated",
            24,
            lambda seed: treated(by_transform(finite_size(2.0)), 1.0, seed),
            Reference(0.183, DAPPER_RUN),
        ),
        "enkf_n_jeffreys": Scheme(
            "EnKF-N, Jeffreys",
            "rotated",
            24,
            lambda seed: treated(by_transform(finite_size()), 1.0, seed),
            None,
        ),
        "ienks": Scheme(
            "IEnKS, lag 1",
            "inflation 1.2, rotated, observed every 12 steps",
            25,
            lambda seed: iterative(seed, 1.2, 12, 20),
            Reference(0.474, DAPPER_SHORT_RUN),
            every_steps=12,
        ),
    }
)
