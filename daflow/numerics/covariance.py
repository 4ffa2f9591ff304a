r"""Observation-error covariances R as operators, in four forms that each keep their structure.

Rows are observation vectors: every operation takes (k, n_obs) or (n_obs,) and returns the same shape.
With a square root L, :math:`R = L L^T`, these hold for all of them and are their laws:

- ``whiten`` applies :math:`L^{-1}`, ``colour`` applies L: each undoes the other;
- ``whiten_adjoint`` applies :math:`L^{-T}`, and ``solve`` is ``whiten_adjoint`` after ``whiten``;
- ``solve`` undoes ``multiply``;
- ``sample`` of standard normals has covariance R: randomness comes from outside;
- every form gives what the dense form of the same matrix gives (``whiten``, ``colour`` up to a rotation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from daflow.errors import DataError
from daflow.numerics.dense_covariance import BlockDiagonalCovariance, DenseCovariance
from daflow.numerics.low_rank_covariance import LowRankPlusDiagonalCovariance
from daflow.numerics.validation import FloatArray, observation_rows, positive_vector, real_array

__all__ = [
    "BlockDiagonalCovariance",
    "Covariance",
    "DenseCovariance",
    "DiagonalCovariance",
    "LowRankPlusDiagonalCovariance",
    "as_covariance",
]


class Covariance(Protocol):
    """An observation-error covariance R (n_obs, n_obs), symmetric and positive definite."""

    @property
    def n_obs(self) -> int:
        """How many observations."""
        ...

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ R``."""
        ...

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(R)``."""
        ...

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L) @ r``: what has covariance R gets covariance I."""
        ...

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L).T @ r``."""
        ...

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``L @ r``: what has covariance I gets covariance R."""
        ...

    def sample(self, standard_normals: FloatArray) -> FloatArray:
        """Return draws (k, n_obs) from N(0, R), made of as many standard normals."""
        ...

    def logdet(self) -> float:
        """Return the logarithm of the determinant of R."""
        ...

    def diagonal(self) -> FloatArray:
        """Return the variances (n_obs,)."""
        ...

    def dense(self) -> FloatArray:
        """Return R as a matrix (n_obs, n_obs)."""
        ...


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


def as_covariance(obs_error: Any) -> Covariance:
    """Return an observation-error covariance from what a notebook has at hand.

    Parameters
    ----------
    obs_error
        A covariance, which is returned as it is; variances (n_obs,); or a matrix (n_obs, n_obs).

    Raises
    ------
    DataError
        It is none of them.
    """
    if not isinstance(obs_error, np.ndarray | list | tuple):
        if hasattr(obs_error, "whiten_adjoint"):
            covariance: Covariance = obs_error
            return covariance
        raise _unreadable(type(obs_error).__name__)
    array = real_array("observation error", obs_error)
    if array.ndim not in (1, 2):
        raise _unreadable(f"an array of {array.ndim} axes")
    return DiagonalCovariance(array) if array.ndim == 1 else DenseCovariance(array)


def _unreadable(got: str) -> DataError:
    return DataError(
        "observation error cannot be read",
        got=got,
        allowed="a covariance, variances (n_obs,), or a matrix (n_obs, n_obs)",
        do="give one variance for each observation: numpy.full(n_obs, variance)",
    )
