r"""The two factors of a localized update, block by block: nothing else is as large as the observations.

With anomalies Z and mismatch E in units of the errors, :math:`Z S^{-1} = (I + Z Z^T)^{-1} Z` and
:math:`E S^{-1} = E - E Z^T (I + Z Z^T)^{-1} Z`: a first pass adds up the two small matrices, a second one
makes the factors. They lie observation by observation in memory, as a localized update reads them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from daflow.numerics.arrays.linalg import anomalies_of, cholesky_solve
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.blocked_projection import sums_of
from daflow.numerics.inversion.ensemble_space import factor_of_gram
from daflow.numerics.inversion.innovation import still_finite
from daflow.numerics.observations.blocks import BlockedObservations

LARGEST_SUBTRACTED: Final = 1e8
"""Trace of ZZ' up to which :math:`E S^{-1}` may be a difference: its root, 1e4, is what rounding grows by."""

Factors = tuple[FloatArray, FloatArray]
"""Left and right (n_members, n_obs), each the transpose of an array that is contiguous."""


def gain_factors(source: BlockedObservations, alpha: float) -> Factors:
    """Return :math:`Y_c S^{-1} / (n_{members} - 1)`, centred, and D - Y.

    Law: equals what the whole arrays give. For covariances without shared patterns.

    Parameters
    ----------
    source
        The predicted and perturbed observations, and R.
    alpha
        What multiplies R.

    Raises
    ------
    daflow.errors.CombinationError, daflow.errors.DataError
        As `daflow.numerics.inversion.blocked_projection.project_by_sums`.
    """
    lower = factor_of_gram(still_finite(sums_of(source, alpha).gram))
    left, right = (np.empty((source.n_obs, source.n_members)) for _ in range(2))
    for where, block in source.placed_blocks():
        signal, _ = block.whitened()
        damped = cholesky_solve(lower, signal.T).T
        made = block.error.whiten_adjoint(damped)
        made -= made.mean(axis=0)
        left[where] = made.T / (alpha * (source.n_members - 1))
        right[where] = (block.perturbed - block.predicted).T
    return still_finite(left).T, right.T


def covariance_factors(source: BlockedObservations, alpha: float) -> Factors | None:
    """Return :math:`Y_c / (n_{members} - 1)` and :math:`(D - Y) S^{-1}`; ``None`` if rounding forbids.

    Parameters and law are those of `gain_factors`.

    Raises
    ------
    daflow.errors.DataError
        Numbers overflow.
    """
    sums = sums_of(source, alpha)
    if not still_finite(sums.gram).trace() <= LARGEST_SUBTRACTED:
        return None
    within = cholesky_solve(factor_of_gram(sums.gram), still_finite(sums.products)) / (source.n_members - 1)
    left, right = (np.empty((source.n_obs, source.n_members)) for _ in range(2))
    for where, block in source.placed_blocks():
        signal, mismatch = block.whitened()
        mismatch -= within @ signal
        left[where] = anomalies_of(block.predicted).T / (source.n_members - 1)
        right[where] = block.error.whiten_adjoint(mismatch).T / alpha
    return left.T, still_finite(right).T
