r"""Reconditioning of an observation-error covariance: closer to what can be inverted, at a known price.

=================== ================================================ ===================================
way                 eigenvalues become                               its number
=================== ================================================ ===================================
`ridge_fraction`    :math:`\lambda_i + s`, s for the condition asked the condition number over the former
`ridge_shift`       :math:`\lambda_i + s`                            s, in squared units, above 0
`minimum_fraction`  :math:`\max(\lambda_i, \lambda_1 / \kappa)`      the condition number over the former
`minimum_threshold` :math:`\max(\lambda_i, T)`                       T, in squared units, above 0
=================== ================================================ ===================================

Ridge regression raises all variances alike and weakens all correlations; the minimum eigenvalue method
changes directions of small variance only. A covariance with a zero or negative eigenvalue has no condition
number to take a fraction of: there a shift or a threshold is asked for, on top of a shift that raises the
smallest eigenvalue to 0. Fractions above 1 would make the condition worse, and are refused with all that
cannot be met.

References
----------
Tabeart, Dance, Lawless, Nichols & Waller (2020), Tellus A 72, 1 (both ways, and what they do to the
analysis).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, symmetric_matrix


class Reconditioned(NamedTuple):
    """A covariance and what was done to it."""

    matrix: FloatArray
    """(n_obs, n_obs), symmetric and positive definite."""
    condition_before: float
    """Infinite where the smallest eigenvalue was not above 0, rounding allowed for."""
    condition_after: float
    eigenvalues_before: tuple[float, float]
    """The smallest and the largest."""
    eigenvalues_after: tuple[float, float]


def ridge_fraction(matrix: ArrayLike, fraction: float) -> Reconditioned:
    r"""Return a covariance with a multiple of the identity added, for a fraction of its condition number.

    :math:`s = (\lambda_1 - \kappa \lambda_n) / (\kappa - 1)`. Laws: the condition number is met; a fraction
    of 1 changes nothing; eigenvectors stay.

    Parameters
    ----------
    matrix : (n_obs, n_obs)
        Symmetric and positive definite.
    fraction
        Above 0, up to 1.

    Raises
    ------
    CombinationError
        The matrix is not positive definite, or the condition number asked for is 1 or less.
    """
    found = _Spectrum.of(matrix)
    wanted = found.condition_wanted(fraction)
    if wanted >= found.condition:
        return found.rebuilt(found.values)
    if wanted <= 1:
        raise _unreachable(found, fraction, "above 1: no ridge makes all eigenvalues equal")
    high, low = found.values[-1], found.values[0]
    return found.rebuilt(found.values + (high - wanted * low) / (wanted - 1))


def ridge_shift(matrix: ArrayLike, shift: float) -> Reconditioned:
    """Return a covariance with a multiple of the identity added.

    Parameters
    ----------
    matrix : (n_obs, n_obs)
        Symmetric; where its smallest eigenvalue is below 0, all are raised by as much first.
    shift
        In squared units of the observations, above 0.
    """
    found = _Spectrum.of(matrix)
    return found.rebuilt(found.raised() + _positive("shift", shift))


def minimum_fraction(matrix: ArrayLike, fraction: float) -> Reconditioned:
    """Return a covariance whose small eigenvalues are raised, for a fraction of its condition number.

    Laws: the condition number is met; a fraction of 1 changes nothing; no variance falls; eigenvectors stay.
    Parameters and errors as for `ridge_fraction`; a condition number of 1 can be met.
    """
    found = _Spectrum.of(matrix)
    wanted = found.condition_wanted(fraction)
    if wanted < 1:
        raise _unreachable(found, fraction, "1 or more")
    return found.rebuilt(np.maximum(found.values, found.values[-1] / wanted))


def minimum_threshold(matrix: ArrayLike, threshold: float) -> Reconditioned:
    """Return a covariance whose eigenvalues are at least a threshold.

    A threshold above the largest eigenvalue makes all of them equal: a multiple of the identity.

    Parameters
    ----------
    matrix : (n_obs, n_obs)
        Symmetric; where its smallest eigenvalue is below 0, all are raised by as much first.
    threshold
        In squared units of the observations, above 0.
    """
    found = _Spectrum.of(matrix)
    return found.rebuilt(np.maximum(found.raised(), _positive("threshold", threshold)))


RECONDITIONINGS: Final[Mapping[str, Callable[[ArrayLike, float], Reconditioned]]] = MappingProxyType(
    {
        "ridge_fraction": ridge_fraction,
        "ridge_shift": ridge_shift,
        "minimum_fraction": minimum_fraction,
        "minimum_threshold": minimum_threshold,
    }
)
"""The ways by name."""


def recondition(matrix: ArrayLike, way: str, number: float) -> Reconditioned:
    """Return a covariance reconditioned one of `RECONDITIONINGS`.

    Raises
    ------
    ConfigError
        No way has that name, or its number is out of range.
    """
    if way not in RECONDITIONINGS:
        raise ConfigError("no reconditioning has this name", got=way, allowed=", ".join(RECONDITIONINGS))
    return RECONDITIONINGS[way](matrix, number)


def recondition_correlation(matrix: ArrayLike, way: str, number: float) -> Reconditioned:
    """Return a covariance whose *correlation* matrix was reconditioned; the numbers then have no unit.

    Standard deviations multiply it again, so variances grow by what the diagonal of the correlations does.
    The result differs from reconditioning the covariance itself. Law: units of the observations do not
    matter. The condition numbers and eigenvalues are those of the correlations.

    Raises
    ------
    DataError
        A variance is not positive.
    """
    covariance = symmetric_matrix("observation error", matrix)
    variances = np.diagonal(covariance)
    if not (variances > 0).all():
        raise DataError(
            "a variance of the observation errors is not positive",
            got=float(variances.min()),
            allowed="above 0",
            do="recondition the covariance itself, or drop the observation",
        )
    scale = np.sqrt(np.multiply.outer(variances, variances))
    found = recondition(covariance / scale, way, number)
    return found._replace(matrix=found.matrix * scale)


class _Spectrum(NamedTuple):
    values: FloatArray
    """In increasing order."""
    vectors: FloatArray

    @classmethod
    def of(cls, matrix: ArrayLike) -> _Spectrum:
        values, vectors = np.linalg.eigh(symmetric_matrix("observation error", matrix))
        if not values[-1] > 0:
            raise DataError(
                "an observation-error covariance has no positive eigenvalue",
                got=float(values[-1]),
                do="check what was given for a covariance",
            )
        return cls(values, vectors)

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest."""
        return float(self.values[0]), float(self.values[-1])

    @property
    def condition(self) -> float:
        noise = self.values.size * np.finfo(np.float64).eps * self.values[-1]
        return float(self.values[-1] / self.values[0]) if self.values[0] > noise else np.inf

    def condition_wanted(self, fraction: float) -> float:
        if not 0 < fraction <= 1:
            raise ConfigError(
                "a fraction of the condition number is out of range",
                got=fraction,
                allowed="above 0, up to 1",
                do="leave reconditioning out if the condition number may stay as it is",
            )
        if np.isinf(self.condition):
            raise CombinationError(
                "a fraction of the condition number is asked of a covariance that is not positive definite",
                got=f"eigenvalues from {self.values[0]:.6g} to {self.values[-1]:.6g}",
                allowed="eigenvalues above 0 by more than rounding",
                do="give a shift or a threshold in place of the fraction",
            )
        return fraction * self.condition

    def raised(self) -> FloatArray:
        """Return eigenvalues of which none is below 0."""
        return self.values - min(float(self.values[0]), 0.0)

    def rebuilt(self, values: FloatArray) -> Reconditioned:
        matrix = (self.vectors * values) @ self.vectors.T
        after = _Spectrum(np.sort(values), self.vectors)
        return Reconditioned(
            0.5 * (matrix + matrix.T), self.condition, after.condition, self.ends, after.ends
        )


def _unreachable(found: _Spectrum, fraction: float, allowed: str) -> CombinationError:
    return CombinationError(
        "a condition number cannot be met",
        got=f"fraction {fraction} of {found.condition:.6g}",
        allowed=allowed,
        do=f"use a fraction above {1 / found.condition:.6g}, or a shift or threshold",
    )


def _positive(name: str, number: float) -> float:
    if not 0 < number < np.inf:
        raise ConfigError(f"the {name} of a reconditioning is out of range", got=number, allowed="above 0")
    return number
