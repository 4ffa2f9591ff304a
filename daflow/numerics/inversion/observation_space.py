"""Inversions that form the innovation covariance as a matrix (n_obs, n_obs): for few observations.

They are exact for every number of members, with or without a taper on it. Memory n_obs^2, cost n_obs^3
once and n_obs^2 a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from daflow.numerics.arrays.linalg import cholesky, cholesky_solve, n_keep
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.innovation import InnovationCovariance, not_positive


@dataclass(frozen=True, eq=False)
class ObservationSpaceInversion:
    """A prepared inversion that knows only how to apply the inverse to rows."""

    anomalies: FloatArray
    apply: Callable[[FloatArray], FloatArray]

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S)``."""
        return self.apply(rows)

    def project(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(S) @ Y.T``."""
        return self.apply(rows) @ self.anomalies.T

    def gain_rows(self) -> FloatArray:
        """Return ``Y @ inv(S)``."""
        return self.apply(self.anomalies)


def prepare_naive(innovation: InnovationCovariance, _truncation: float) -> ObservationSpaceInversion:
    """Form the inverse itself: the plainest way, to test the others against."""
    try:
        inverse = np.linalg.inv(innovation.dense())
    except np.linalg.LinAlgError as error:
        raise not_positive(innovation) from error
    return ObservationSpaceInversion(innovation.anomalies, lambda rows: rows @ inverse)


def prepare_cholesky(innovation: InnovationCovariance, _truncation: float) -> ObservationSpaceInversion:
    """Factorize S by Cholesky."""
    try:
        lower = cholesky(innovation.dense())
    except np.linalg.LinAlgError as error:
        raise not_positive(innovation) from error
    return ObservationSpaceInversion(innovation.anomalies, lambda rows: cholesky_solve(lower, rows))


def prepare_least_squares(innovation: InnovationCovariance, _truncation: float) -> ObservationSpaceInversion:
    """Keep S; each application is the least-squares solution of smallest norm (slow)."""
    matrix = innovation.dense()

    def apply(rows: FloatArray) -> FloatArray:
        solution = np.linalg.lstsq(matrix, rows.T, rcond=None)[0]
        return np.asarray(solution.T, dtype=np.float64)

    return ObservationSpaceInversion(innovation.anomalies, apply)


def prepare_tapered_rescaled(
    innovation: InnovationCovariance, truncation: float
) -> ObservationSpaceInversion:
    r"""Truncate by the eigenvalues of S in units of the observation error, where a taper raises its rank.

    With :math:`L^{-1} S L^{-T} = U \Lambda U^T` in full, the inverse less
    :math:`L^{-T} U_d \Lambda_d^{-1} U_d^T L^{-1}` over the modes that carry signal and that truncation cuts.
    The inverse itself comes from S by Cholesky: an ill-conditioned R does not make S so, but makes U inexact.
    """
    exact = prepare_cholesky(innovation, 1.0)
    if truncation == 1:
        return exact
    signal = innovation.whiten(innovation.whiten(innovation.signal()).T)
    values, vectors = np.linalg.eigh(0.5 * (signal + signal.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    carries = np.abs(values) > values.size * np.finfo(np.float64).eps * np.abs(values).max()
    cut = carries & (np.arange(values.size) >= n_keep(1 + values, truncation))
    dropped, eigenvalues = vectors[:, cut], 1 + values[cut]

    def apply(rows: FloatArray) -> FloatArray:
        coefficients = (innovation.whiten(rows) @ dropped) / eigenvalues
        return exact.solve(rows) - innovation.whiten_adjoint(coefficients @ dropped.T)

    return ObservationSpaceInversion(innovation.anomalies, apply)
