"""Observation-error covariance that is kept as one matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from daflow.errors import DataError
from daflow.numerics.arrays.linalg import cholesky, cholesky_solve, forward_solve, forward_solve_adjoint
from daflow.numerics.arrays.validation import FloatArray, frozen_copy, observation_rows, symmetric_matrix

RECONDITION: Final = "check the correlations, or recondition the matrix"
"""What to do about a matrix that is not positive definite."""


@dataclass(frozen=True, eq=False)
class DenseCovariance:
    """Errors that may all depend on each other; the square root is the lower Cholesky factor.

    Cost: n_obs^3 / 3 once, n_obs^2 a row.

    Parameters
    ----------
    matrix : (n_obs, n_obs)

    Raises
    ------
    DataError
        Not square, finite, symmetric (to 1e-10 of its largest number) and positive definite.
    """

    matrix: FloatArray
    lower: FloatArray = field(init=False, repr=False)
    """The lower Cholesky factor (n_obs, n_obs)."""

    def __post_init__(self) -> None:
        matrix = symmetric_matrix("observation-error covariance", self.matrix)
        object.__setattr__(self, "matrix", frozen_copy(matrix))
        object.__setattr__(self, "lower", _lower_factor(matrix))

    @property
    def n_obs(self) -> int:
        """How many observations."""
        return int(self.matrix.shape[0])

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ R``."""
        return observation_rows(rows, self.n_obs) @ self.matrix

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(R)``."""
        return cholesky_solve(self.lower, observation_rows(rows, self.n_obs))

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L) @ r``."""
        return forward_solve(self.lower, observation_rows(rows, self.n_obs))

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L).T @ r``."""
        return forward_solve_adjoint(self.lower, observation_rows(rows, self.n_obs))

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``L @ r``."""
        return observation_rows(rows, self.n_obs) @ self.lower.T

    def sample(self, standard_normals: FloatArray) -> FloatArray:
        """Return draws (k, n_obs) from N(0, R), made of as many standard normals."""
        return self.colour(standard_normals)

    def logdet(self) -> float:
        """Return the logarithm of the determinant of R."""
        return float(2.0 * np.log(np.diagonal(self.lower)).sum())

    def diagonal(self) -> FloatArray:
        """Return the variances (n_obs,)."""
        return np.diagonal(self.matrix)

    def dense(self) -> FloatArray:
        """Return R as a matrix (n_obs, n_obs)."""
        return self.matrix

    @property
    def patterns(self) -> FloatArray:
        """Return (n_obs, 0): there is but one part."""
        return np.empty((self.n_obs, 0))

    def parts(self, size: int) -> Iterator[tuple[slice, DenseCovariance]]:  # noqa: ARG002 - the protocol's
        """Yield the whole: nothing in it is independent."""
        yield slice(0, self.n_obs), self


def _lower_factor(matrix: FloatArray) -> FloatArray:
    try:
        lower = cholesky(matrix)
    except np.linalg.LinAlgError as error:
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        raise DataError(
            "observation-error covariance is not positive definite",
            got=f"smallest eigenvalue {smallest:.6g}",
            allowed="above 0, and not so far below the largest that rounding hides it",
            do=RECONDITION,
        ) from error
    return frozen_copy(lower)
