r"""NICE: as much correction of sampling errors as chance accounts for, and no more.

Correlations c of a block are replaced by :math:`[(1 - a) |c|^{\gamma - 2} + a |c|^\gamma] c`. By the
discrepancy principle, the exponents and a are those of the largest correction whose Frobenius norm stays
below that of the sampling errors' standard deviations. Even exponents keep a positive semidefinite block so
(Schur's product theorem); blocks with exponents of their own need not fit together.

The norms are of the whole block, never of whatever part is in hand: `survey_norms` gives sums that slices add
up, `choose_nice` decides, `nice_weights` are number by number. One pass over the state is enough, because the
norm of the correction is a quadratic in a.

Source: Vishny, Morzfeld, Gwirtz, Bach, Dunbar & Hodyss (2024), Journal of Advances in Modeling Earth Systems
16; exponents and weights are searched as in EnsembleKalmanProcesses.jl.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import ConfigError
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.localization.sampling_error import CORRELATION_STDS, PERFECT

EXPONENTS: Final = (0, 2, 4, 6, 8, 10)
"""Which powers are tried: each is the square times the one before."""

_WEIGHTS: Final = np.linspace(1.0, 0.0, 10)


@dataclass(frozen=True, slots=True, eq=False)
class NiceSurvey:
    """Sums over a block of correlations; those of slices add up."""

    noise: float
    """Of the squared standard deviations of the correlations."""
    products: FloatArray
    """(6, 6) of products of the corrections that each pair of `EXPONENTS` would make."""

    def __add__(self, other: NiceSurvey) -> NiceSurvey:
        """Return the sums of two slices together."""
        return NiceSurvey(self.noise + other.noise, self.products + other.products)


class NiceChoice(NamedTuple):
    """Which correction a block gets."""

    exponent: int
    """gamma"""
    weight: float
    """a, of the higher of both powers."""


def survey_norms(correlation: ArrayLike, n_members: int, *, std: str = "asymptotic") -> NiceSurvey:
    """Return the sums of a slice of a block of correlations.

    Law: the sums of slices are those of the whole. Cost: 21 products a number.

    Parameters
    ----------
    correlation : (n, n_obs)
    n_members
        Of the ensemble that they come from.
    std
        One of `daflow.numerics.localization.sampling_error.CORRELATION_STDS`.

    Raises
    ------
    ConfigError
        No formula has that name.
    """
    if std not in CORRELATION_STDS:
        allowed = ", ".join(CORRELATION_STDS)
        raise ConfigError("no standard deviation of correlations has this name", got=std, allowed=allowed)
    values = _clipped(correlation)
    noise = float(np.square(CORRELATION_STDS[std](values, n_members)).sum())
    changes = np.empty((len(EXPONENTS), values.size))
    flat, square, power = values.ravel(), np.square(values).ravel(), np.ones(values.size)
    for change in changes:
        np.multiply(power - 1.0, flat, out=change)
        power *= square
    return NiceSurvey(noise, changes @ changes.T)


def choose_nice(survey: NiceSurvey, tolerance: float = 1.0) -> NiceChoice:
    """Return the correction that a block gets.

    Laws: a smaller tolerance never gives a larger correction; a tolerance of 0, or correlations that are
    all 0 or perfect, give none.

    Parameters
    ----------
    survey
        Of the whole block.
    tolerance
        delta: how many times the norm of the sampling errors the correction may be, 0 or more.
    """
    if not 0 <= tolerance < np.inf:
        raise ConfigError("the tolerance of a correction is out of range", got=tolerance, allowed="0 or more")
    bound = tolerance * np.sqrt(survey.noise)
    norms = np.sqrt(np.diagonal(survey.products))
    beyond = np.flatnonzero(norms[1:] > bound)
    high = int(beyond[0]) + 1 if beyond.size else len(EXPONENTS) - 1
    block = survey.products[high - 1 : high + 1, high - 1 : high + 1]
    for weight in _WEIGHTS:
        mix = np.array([1.0 - weight, weight])
        if np.sqrt(mix @ block @ mix) < bound:
            return NiceChoice(EXPONENTS[high], float(weight))
    return NiceChoice(EXPONENTS[1], 0.0)


def nice_weights(correlation: ArrayLike, choice: NiceChoice) -> FloatArray:
    r"""Return the weights :math:`(1 - a) |c|^{\gamma - 2} + a |c|^\gamma` (n, n_obs) of a slice.

    Laws: a choice of exponent 2 and weight 0 is nothing; a perfect correlation has weight 1.
    """
    size = np.abs(finite_array("correlation", correlation, (None, None)))
    lower = size ** (choice.exponent - 2)
    return np.asarray((1.0 - choice.weight) * lower + choice.weight * lower * size**2)


def _clipped(correlation: ArrayLike) -> FloatArray:
    values = finite_array("correlation", correlation, (None, None))
    return np.clip(values, -PERFECT, PERFECT)
