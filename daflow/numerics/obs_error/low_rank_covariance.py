"""Observation-error covariance of a few shared error patterns plus independent errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from daflow.errors import DataError
from daflow.numerics.arrays.validation import (
    FloatArray,
    finite_array,
    frozen_copy,
    observation_rows,
    positive_vector,
)
from daflow.numerics.obs_error.diagonal_covariance import DiagonalCovariance


class _Patterns(NamedTuple):
    deviations: FloatArray
    """(n_obs,) square roots of the variances of the independent errors."""
    basis: FloatArray
    """(n_obs, k) orthonormal columns."""
    strengths: FloatArray
    """(k,) variances along them, in units of the independent errors."""


@dataclass(frozen=True, eq=False)
class LowRankPlusDiagonalCovariance:
    r"""Errors :math:`R = F F^T + D`: k shared patterns F and independent errors of variances D.

    With :math:`D^{-1/2} F = U s V^T` (thin), :math:`R = D^{1/2} (I + U s^2 U^T) D^{1/2}`, so that
    :math:`L = D^{1/2} (I + U (\sqrt{1 + s^2} - 1) U^T)` is a square root that is never formed.
    Cost: n_obs k^2 once, n_obs k a row; memory n_obs k.

    Parameters
    ----------
    factor : (n_obs, k)
        In the unit of each observation.
    variances : (n_obs,)
        Of the independent errors, in the squared unit of each observation.

    Raises
    ------
    DataError
        Shapes that disagree, numbers that are not finite, variances that are not positive.
    """

    factor: FloatArray
    variances: FloatArray

    def __post_init__(self) -> None:
        variances = positive_vector("variances of the independent errors", self.variances)
        factor = finite_array("factor of the shared errors", self.factor, (variances.size, None))
        if factor.shape[1] == 0:
            raise DataError(
                "factor of the shared errors has no columns",
                allowed="one pattern or more",
                do="without shared errors use DiagonalCovariance",
            )
        object.__setattr__(self, "variances", variances)
        object.__setattr__(self, "factor", frozen_copy(factor))

    @cached_property
    def _patterns(self) -> _Patterns:
        deviations = np.sqrt(self.variances)
        basis, values, _ = np.linalg.svd(self.factor / deviations[:, None], full_matrices=False)
        return _Patterns(deviations, basis, values**2)

    @property
    def n_obs(self) -> int:
        """How many observations."""
        return int(self.variances.size)

    def _stretch(self, rows: FloatArray, gains: FloatArray) -> FloatArray:
        """Return ``rows @ (I + U diag(gains) U')``."""
        basis = self._patterns.basis
        return rows + ((rows @ basis) * gains) @ basis.T

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ R``."""
        given = observation_rows(rows, self.n_obs)
        return given * self.variances + (given @ self.factor) @ self.factor.T

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(R)``."""
        deviations, _, strengths = self._patterns
        scaled = observation_rows(rows, self.n_obs) / deviations
        solved = self._stretch(scaled, -strengths / (1 + strengths))
        solved /= deviations
        return solved

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L) @ r``."""
        scaled = observation_rows(rows, self.n_obs) / self._patterns.deviations
        return self._stretch(scaled, self._shrinkage)

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L).T @ r``."""
        whitened = self._stretch(observation_rows(rows, self.n_obs), self._shrinkage)
        whitened /= self._patterns.deviations
        return whitened

    @property
    def _shrinkage(self) -> FloatArray:
        """1 / sqrt(1 + s^2) - 1 without cancellation where s is small."""
        root = np.sqrt(1 + self._patterns.strengths)
        shrinkage: FloatArray = -self._patterns.strengths / (root * (1 + root))
        return shrinkage

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``L @ r``."""
        deviations, _, strengths = self._patterns
        gains = strengths / (1 + np.sqrt(1 + strengths))
        coloured = self._stretch(observation_rows(rows, self.n_obs), gains)
        coloured *= deviations
        return coloured

    def sample(self, standard_normals: FloatArray) -> FloatArray:
        """Return draws (k, n_obs) from N(0, R), made of as many standard normals."""
        return self.colour(standard_normals)

    def logdet(self) -> float:
        """Return the logarithm of the determinant of R."""
        return float(np.log(self.variances).sum() + np.log1p(self._patterns.strengths).sum())

    def diagonal(self) -> FloatArray:
        """Return the variances (n_obs,), shared errors included."""
        shared: FloatArray = np.einsum("ij,ij->i", self.factor, self.factor)
        return self.variances + shared

    def dense(self) -> FloatArray:
        """Return R as a matrix (n_obs, n_obs)."""
        return self.factor @ self.factor.T + np.diag(self.variances)

    @property
    def patterns(self) -> FloatArray:
        """Return F (n_obs, k)."""
        return self.factor

    def parts(self, size: int) -> Iterator[tuple[slice, DiagonalCovariance]]:
        """Yield the independent errors, so many at a time."""
        return DiagonalCovariance(self.variances).parts(size)
