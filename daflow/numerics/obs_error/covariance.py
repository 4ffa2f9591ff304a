r"""Observation-error covariances R as operators, in four forms that each keep their structure.

Rows are observation vectors: every operation takes (k, n_obs) or (n_obs,) and returns the same shape.
With a square root L, :math:`R = L L^T`, these hold for all of them and are their laws:

- ``whiten`` applies :math:`L^{-1}`, ``colour`` applies L: each undoes the other;
- ``whiten_adjoint`` applies :math:`L^{-T}`, and ``solve`` is ``whiten_adjoint`` after ``whiten``;
- ``solve`` undoes ``multiply``;
- ``sample`` of standard normals has covariance R: randomness comes from outside;
- every form gives what the dense form of the same matrix gives (``whiten``, ``colour`` up to a rotation);
- R is block-diagonal in its ``parts`` plus ``patterns @ patterns.T``, however large the parts are to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, real_array
from daflow.numerics.obs_error.block_covariance import BlockDiagonalCovariance
from daflow.numerics.obs_error.dense_covariance import DenseCovariance
from daflow.numerics.obs_error.diagonal_covariance import DiagonalCovariance
from daflow.numerics.obs_error.low_rank_covariance import LowRankPlusDiagonalCovariance

__all__ = [
    "BlockDiagonalCovariance",
    "Covariance",
    "DenseCovariance",
    "DiagonalCovariance",
    "ErrorPart",
    "LowRankPlusDiagonalCovariance",
    "as_covariance",
]


class ErrorPart(Protocol):
    """The errors of some consecutive observations, as far as they do not depend on those of others."""

    @property
    def n_obs(self) -> int:
        """How many observations."""
        ...

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows`` times the covariance of these errors."""
        ...

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L) @ r``, a new array (k, n_obs)."""
        ...

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L).T @ r``, a new array (k, n_obs)."""
        ...

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``L @ r``, a new array (k, n_obs)."""
        ...


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

    @property
    def patterns(self) -> FloatArray:
        """Return the error patterns (n_obs, k) that different parts share; k may be 0."""
        ...

    def parts(self, size: int) -> Iterator[tuple[slice, ErrorPart]]:
        """Yield in their order the parts that depend on each other by the patterns only.

        Each has ``size`` observations at most, unless more cannot be parted, and about as many if it can.
        """
        ...


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
