"""Small pieces of linear algebra that the inversions and covariances share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from daflow.numerics.arrays.validation import FloatArray


def anomalies_of(ensemble: FloatArray) -> FloatArray:
    """Return the departures of the members from their mean.

    The first member is taken off before the mean is, so that what all members share, however large,
    costs no digits and a column in which all members agree gives exact zeros.

    Parameters
    ----------
    ensemble : (n_members, n)

    Returns
    -------
    (n_members, n)
    """
    departures: FloatArray = ensemble - ensemble[0]
    departures -= departures.mean(axis=0)
    return departures


def n_keep(values: FloatArray, truncation: float) -> int:
    """Return how many leading values make up a fraction of their sum.

    The smallest k with ``values[0] + ... + values[k - 1] >= truncation * sum(values)``, where a sum that
    falls short by rounding alone counts as reached.

    Parameters
    ----------
    values : (n,)
        Not negative, in decreasing order.
    truncation
        In (0, 1]. At 1 every value above zero is kept, however small; where all values are zero, none.
    """
    n_positive = int(np.count_nonzero(values))
    if truncation >= 1.0 or n_positive == 0:
        return n_positive
    sums = np.cumsum(values)
    reached = int(np.searchsorted(sums, truncation * (1 - 1e-12) * sums[-1], side="left")) + 1
    return min(reached, n_positive)


class Modes(NamedTuple):
    """A thin singular value decomposition without the values that are zero to rounding.

    ``matrix = members * values @ basis.T``, with orthonormal columns in both.
    """

    members: FloatArray
    """(n_members, rank)"""
    values: FloatArray
    """(rank,) in decreasing order"""
    basis: FloatArray
    """(n_obs, rank)"""


def modes_of(matrix: FloatArray) -> Modes:
    """Return the modes of a matrix (n_members, n_obs) that are above rounding."""
    # Tall matrices are decomposed in half the time of wide ones.
    basis, values, member_rows = np.linalg.svd(matrix.T, full_matrices=False)
    noise = max(matrix.shape) * np.finfo(np.float64).eps * values[0]
    rank = int(np.count_nonzero(values > noise))
    return Modes(member_rows[:rank].T, values[:rank], basis[:, :rank])


def extended_triangle(triangle: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the triangular factor of a QR factorization to which rows are added.

    Parameters
    ----------
    triangle : (m, n)
        The factor of what came before; (0, n) at first.
    columns : (n, k)
        What is added, transposed.

    Returns
    -------
    (min(m + k, n), n)
    """
    return np.asarray(np.linalg.qr(np.concatenate([triangle, columns.T]), mode="r"), dtype=np.float64)


def cholesky(matrix: FloatArray) -> FloatArray:
    """Return the lower Cholesky factor of a symmetric matrix.

    Raises
    ------
    numpy.linalg.LinAlgError
        It is not positive definite.
    """
    return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)


def cholesky_solve(lower: FloatArray, rows: FloatArray) -> FloatArray:
    """Return ``rows @ inv(lower @ lower.T)`` for rows (k, n) or (n,)."""
    return forward_solve_adjoint(lower, forward_solve(lower, rows))


def forward_solve(lower: FloatArray, rows: FloatArray) -> FloatArray:
    """Return each row r as ``inv(lower) @ r``."""
    solved: FloatArray = solve_triangular(lower, rows.T, lower=True, check_finite=False)
    return solved.T


def forward_solve_adjoint(lower: FloatArray, rows: FloatArray) -> FloatArray:
    """Return each row r as ``inv(lower).T @ r``."""
    solved: FloatArray = solve_triangular(lower, rows.T, lower=True, trans="T", check_finite=False)
    return solved.T
