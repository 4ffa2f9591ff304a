"""What is compared: a shrunk covariance without localization and with it, and LETKFs with two tapers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from gyre_twin import ERROR_VARIANCE, PAPER_RADIUS, Basin

from daflow.names import Purpose
from daflow.numerics.arrays.ensembles import mean_of
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.cycling import Analysis
from daflow.numerics.filters.shrinkage import apply_shrinkage, shrinkage_etkf
from daflow.numerics.filters.shrinkage_target import ShrinkageTarget, matched_scale, rblw_gamma
from daflow.numerics.inflation.fixed import inflate_anomalies
from daflow.numerics.localization.cell_planning import plan_localization
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.distance import DistanceTaper
from daflow.numerics.localization.letkf import add_letkf_analysis, letkf_factors
from daflow.numerics.localization.shrinkage_letkf import add_shrinkage_analysis, shrinkage_letkf_factors

N_SYNTHETIC: Final = 100


@dataclass(frozen=True)
class Filter:
    """A filter, and what its forecast's anomalies are multiplied by."""

    title: str
    inflation: float
    make: Callable[[Basin, ShrinkageTarget, float, int], Analysis]
    """From basin, target, inflation and seed."""


def shrunk(gamma: float | None) -> Callable[[Basin, ShrinkageTarget, float, int], Analysis]:
    """Return what makes the filter with synthetic members; ``None``: the weight of RBLW, anew each day."""

    def make(basin: Basin, target: ShrinkageTarget, inflation: float, seed: int) -> Analysis:
        variances = np.full(len(basin.observed), ERROR_VARIANCE)

        def analyse(number: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
            wide = inflate_anomalies(forecast, inflation)
            synthetic, weight = _synthetic(target, wide, stream(seed, Purpose.INFLATION, number), gamma)
            seen = basin.observe(wide), basin.observe(synthetic)
            return apply_shrinkage(shrinkage_etkf(*seen, observed, variances, weight), wide, synthetic)

        return analyse

    return make


def local_shrunk(family: str) -> Callable[[Basin, ShrinkageTarget, float, int], Analysis]:
    """Return what makes the same filter at each point, by the weight of RBLW, with a family of tapers."""

    def make(basin: Basin, target: ShrinkageTarget, inflation: float, seed: int) -> Analysis:
        plan = _plan(basin, family)
        variances = np.full(len(basin.observed), ERROR_VARIANCE)

        def analyse(number: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
            posterior = inflate_anomalies(forecast, inflation)
            synthetic, weight = _synthetic(target, posterior, stream(seed, Purpose.INFLATION, number), None)
            seen = basin.observe(posterior), basin.observe(synthetic)
            factors = shrinkage_letkf_factors(*seen, observed, variances, weight)
            add_shrinkage_analysis(plan, posterior, lambda start, stop: synthetic[:, start:stop], factors)
            return posterior

        return analyse

    return make


def _synthetic(
    target: ShrinkageTarget, wide: FloatArray, draws: np.random.Generator, gamma: float | None
) -> tuple[FloatArray, float]:
    """Return synthetic members around a forecast's mean, and the target's weight."""
    found = matched_scale(target.project(wide))
    normals = draws.standard_normal((N_SYNTHETIC, target.rank))
    synthetic = target.synthetic(mean_of(wide), found.scale, normals)
    return synthetic, rblw_gamma(found) if gamma is None else gamma


def local(family: str) -> Callable[[Basin, ShrinkageTarget, float, int], Analysis]:
    """Return what makes the local ensemble transform filter with a family of tapers."""

    def make(basin: Basin, target: ShrinkageTarget, inflation: float, seed: int) -> Analysis:
        del target, seed
        plan = _plan(basin, family)
        variances = np.full(len(basin.observed), ERROR_VARIANCE)

        def analyse(_: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
            posterior = inflate_anomalies(forecast, inflation)
            add_letkf_analysis(plan, posterior, *letkf_factors(basin.observe(posterior), observed, variances))
            return posterior

        return analyse

    return make


def _plan(basin: Basin, family: str) -> LocalizationPlan:
    """Return which points hear which observations."""
    places = np.column_stack([basin.places, np.full(len(basin.places), np.nan)])
    return plan_localization(
        places,
        np.zeros(len(places), np.int64),
        places[basin.observed],
        np.zeros(len(basin.observed), np.int64),
        {(0, 0): DistanceTaper(family, (PAPER_RADIUS, PAPER_RADIUS, None))},
    )


FILTERS: Final[Mapping[str, Filter]] = MappingProxyType(
    {
        "shrinkage": Filter("shrinkage, RBLW", 1.05, shrunk(None)),
        "shrinkage-static": Filter("shrinkage, weight 0.85", 1.05, shrunk(0.85)),
        "shrinkage-local": Filter("shrinkage, RBLW, local", 1.05, local_shrunk("gaspari_cohn")),
        "letkf-gaspari-cohn": Filter("LETKF, Gaspari and Cohn", 1.05, local("gaspari_cohn")),
        "letkf-operational": Filter("LETKF, operational", 1.05, local("operational")),
    }
)
