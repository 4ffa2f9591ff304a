r"""What a global update needs of the observations, collected in one pass over blocks of them.

That is the matrix :math:`(D - Y) S^{-1} Y_c^T` (n_members, n_members), with :math:`S = C_{yy} + \alpha R`. No
array of all observations is made, let alone one of their square.

- `project_by_sums` adds up :math:`Z Z^T` and :math:`E Z^T`, anomalies and mismatch in units of the errors;
- `compress` turns [Z' E'] into a few rows by a QR factorization that is carried from block to block
  (Demmel, Grigori, Hoemmen & Langou, 2012, SIAM J. Sci. Comput. 34, A206). Rotating the observations in
  units of their errors changes nothing in the formulas, so that every inversion can go on from there, with
  n_members observations in the place of n_obs. It squares nothing, so that no digit is lost which the
  inversion would have kept, at about ten times the cost;
- `project_on_subspace` does what inversion ``subspace`` does, in two passes.

All are linear in n_obs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from daflow.numerics.arrays.linalg import (
    anomalies_of,
    cholesky,
    cholesky_solve,
    extended_triangle,
    modes_of,
    n_keep,
)
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.ensemble_space import factor_of_gram, prepare_ensemble_space
from daflow.numerics.inversion.innovation import InnovationCovariance, PreparedInversion, still_finite
from daflow.numerics.inversion.signal_modes import prepare_rescaled, prepare_subspace_rescaled
from daflow.numerics.obs_error.covariance import Covariance, DiagonalCovariance, LowRankPlusDiagonalCovariance
from daflow.numerics.observations.blocks import BlockedObservations

Project = Callable[[BlockedObservations, float, float], FloatArray]
"""From observations, alpha and truncation to (D - Y) inv(S) Y' (n_members, n_members)."""


class Compressed(NamedTuple):
    """An update with few observations that does what one with many does."""

    innovation: InnovationCovariance
    mismatch: FloatArray
    """(n_members, n), n at most n_members + n_patterns."""


def compress(source: BlockedObservations, alpha: float) -> Compressed:
    """Rotate the observations, in units of their errors, so that all but a few carry no signal.

    Those few are left.
    """
    n_members, n_signal = source.n_members, source.n_members + source.n_patterns
    triangle = np.empty((0, n_signal + n_members))
    for block in source.blocks():
        rows = np.concatenate(block.whitened())
        triangle = extended_triangle(triangle, rows)
    few = still_finite(triangle[:n_signal].T)
    anomalies, patterns, mismatch = few[:n_members], few[n_members:n_signal], few[n_signal:]
    innovation = InnovationCovariance(
        anomalies, _units(patterns), alpha, n_silent=source.n_obs - anomalies.shape[1]
    )
    return Compressed(innovation, mismatch)


def _units(patterns: FloatArray) -> Covariance:
    ones = np.ones(patterns.shape[1])
    return LowRankPlusDiagonalCovariance(patterns.T, ones) if len(patterns) else DiagonalCovariance(ones)


def _project_compressed(
    source: BlockedObservations,
    alpha: float,
    truncation: float,
    prepare: Callable[[InnovationCovariance, float], PreparedInversion],
) -> FloatArray:
    innovation, mismatch = compress(source, alpha)
    return prepare(innovation, truncation).project(mismatch)


def project_by_sums(source: BlockedObservations, alpha: float, _truncation: float = 1.0) -> FloatArray:
    r"""Project through the sums :math:`Z Z^T` and :math:`E Z^T`; cost 3 n_obs n_members^2.

    Where errors are shared it goes through `compress`: a prediction that goes along with a strong pattern
    would leave the difference of two large sums.

    Raises
    ------
    daflow.errors.CombinationError
        The sums are so large that rounding hides the observation error.
    daflow.errors.DataError
        They overflow.
    """
    if source.n_patterns:
        return _project_compressed(source, alpha, 1.0, prepare_ensemble_space)
    gram, products = sums_of(source, alpha)
    return cholesky_solve(factor_of_gram(still_finite(gram)), still_finite(products))


class Sums(NamedTuple):
    """Two matrices (n_members, n_members)."""

    gram: FloatArray
    """ZZ', of the anomalies over the root of n_members - 1, in units of the errors."""
    products: FloatArray
    """(D - Y) inv(alpha R) Y'."""


def sums_of(source: BlockedObservations, alpha: float) -> Sums:
    """Add up what anomalies and mismatch give with each other, for errors without shared patterns."""
    gram, products = (np.zeros((source.n_members, source.n_members)) for _ in range(2))
    for block in source.blocks():
        signal, mismatch = block.whitened()
        gram += signal @ signal.T
        products += mismatch @ signal.T
    gram /= alpha * (source.n_members - 1)
    products /= alpha
    return Sums(gram, products)


def project_on_subspace(source: BlockedObservations, alpha: float, truncation: float) -> FloatArray:
    r"""Project on the leading modes U of the anomalies, :math:`(D-Y) U [U^T S U]^{-1} U^T Y_c^T`.

    The first pass finds the modes by a QR factorization carried from block to block, the second one adds up
    the three products. U is used as it comes out, so that its rounding is in all of them alike.
    """
    n_members = source.n_members
    triangle = np.empty((0, n_members))
    for _, _, predicted in source.predictions():
        triangle = extended_triangle(triangle, anomalies_of(predicted))
    modes = modes_of(still_finite(triangle.T))
    kept = n_keep(modes.values, truncation)
    towards = modes.members[:, :kept] / modes.values[:kept]
    error, along = np.zeros((kept, kept)), np.zeros((source.n_patterns, kept))
    signal, mismatch = np.zeros((n_members, kept)), np.zeros((n_members, kept))
    for block in source.blocks():
        anomalies = anomalies_of(block.predicted)
        basis = anomalies.T @ towards
        error += block.error.multiply(basis.T) @ basis
        along += block.patterns.T @ basis
        signal += anomalies @ basis
        mismatch += (block.perturbed - block.predicted) @ basis
    inner = alpha * (error + along.T @ along) + signal.T @ signal / (n_members - 1)
    return cholesky_solve(cholesky(still_finite(inner)), mismatch) @ signal.T


PROJECTIONS: Final[Mapping[str, Project]] = MappingProxyType(
    {
        "exact_cholesky": project_by_sums,
        "exact_woodbury": project_by_sums,
        "rescaled": partial(_project_compressed, prepare=prepare_rescaled),
        "subspace": project_on_subspace,
        "subspace_rescaled": partial(_project_compressed, prepare=prepare_subspace_rescaled),
    }
)
"""The inversions that can take their observations by blocks."""
