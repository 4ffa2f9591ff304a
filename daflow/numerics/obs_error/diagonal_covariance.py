"""Observation-error covariance of errors that do not depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from daflow.numerics.arrays.validation import FloatArray, observation_rows, positive_vector


@dataclass(frozen=True, eq=False)
class DiagonalCovariance:
    """Errors that do not depend on each other. Cost: n_obs a row.

    Parameters
    ----------
    variances : (n_obs,)
        In the squared unit of each observation.

    Raises
    ------
    DataError
        Not a list of finite positive numbers.
    """

    variances: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "variances", positive_vector("observation-error variances", self.variances))

    @property
    def n_obs(self) -> int:
        """How many observations."""
        return int(self.variances.size)

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ R``."""
        return observation_rows(rows, self.n_obs) * self.variances

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(R)``."""
        return observation_rows(rows, self.n_obs) / self.variances

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return rows over the standard deviations."""
        return observation_rows(rows, self.n_obs) / np.sqrt(self.variances)

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return the same as `whiten`: the square root is symmetric."""
        return self.whiten(rows)

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return rows times the standard deviations."""
        return observation_rows(rows, self.n_obs) * np.sqrt(self.variances)

    def sample(self, standard_normals: FloatArray) -> FloatArray:
        """Return draws (k, n_obs) from N(0, R), made of as many standard normals."""
        return self.colour(standard_normals)

    def logdet(self) -> float:
        """Return the logarithm of the determinant of R."""
        return float(np.log(self.variances).sum())

    def diagonal(self) -> FloatArray:
        """Return the variances (n_obs,)."""
        return self.variances

    def dense(self) -> FloatArray:
        """Return R as a matrix (n_obs, n_obs)."""
        return np.diag(self.variances)

    @property
    def patterns(self) -> FloatArray:
        """Return (n_obs, 0): no error is shared."""
        return np.empty((self.n_obs, 0))

    def parts(self, size: int) -> Iterator[tuple[slice, DiagonalCovariance]]:
        """Yield so many observations at a time."""
        for start in range(0, self.n_obs, size):
            where = slice(start, min(start + size, self.n_obs))
            yield where, DiagonalCovariance(self.variances[where])
