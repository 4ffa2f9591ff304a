r"""Steps of iterative ensemble smoothers that need matrices of members by members only.

What a step looks at, whitened predicted anomalies Y and mismatches E of perturbed observations and
predictions, comes into it by :math:`Y Y^T`, :math:`E Y^T` and the squares of E: sums over observations, which
are read by blocks, as many as there may be. What the iterations are for says
`daflow.numerics.smoothers.iterative_smoothers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.linalg import anomalies_of, cholesky, cholesky_solve
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.innovation import error_is_hidden, quiet_overflow, still_finite
from daflow.numerics.observations.blocks import BlockedObservations

WORST_CONDITION = 1e12
"""Of how the members are mixed: beyond it, differences of members are rounding."""


class PredictionSums(NamedTuple):
    """What predictions and perturbed observations are to a step, in units of the observation errors."""

    gram: FloatArray
    """Y Y' (n_members, n_members) of the predicted anomalies."""
    products: FloatArray
    """E Y' (n_members, n_members) of mismatches and anomalies."""
    squares: FloatArray
    """(n_members,) the squared length of each member's mismatch."""

    def of(self, kept: Sequence[int]) -> PredictionSums:
        """Return the sums of some of the members, as if the others had never been: exactly.

        Parameters
        ----------
        kept
            Their rows.
        """
        inner = np.ix_(kept, kept)
        gram, products = self.gram[inner], self.products[inner]
        gram = gram - gram.mean(axis=0)
        gram -= gram.mean(axis=1, keepdims=True)
        return PredictionSums(gram, products - products.mean(axis=1, keepdims=True), self.squares[kept])


def sums_of_predictions(source: BlockedObservations) -> PredictionSums:
    """Add up what a step needs of the observations.

    Laws: the size of the blocks does not matter. Cost 3 n_obs n_members^2 and that of R, one pass; memory
    n_members^2 and blocks, arrays (n_members, n_obs) where all errors depend on each other.

    Raises
    ------
    DataError
        Predictions that are not finite, or that overflow in units of the errors.
    """
    n = source.n_members
    gram, products, squares = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    with quiet_overflow():
        for anomalies, mismatch in _whitened(source):
            gram += anomalies @ anomalies.T
            products += mismatch @ anomalies.T
            squares += np.square(mismatch).sum(axis=1)
    return PredictionSums(still_finite(gram), still_finite(products), still_finite(squares))


def _whitened(source: BlockedObservations) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield anomalies and mismatches (n_members, n) of the observations, in units of their errors."""
    if source.n_patterns:
        predicted, perturbed = source.whole()
        whiten = source.obs_error.whiten
        yield whiten(anomalies_of(predicted)), whiten(perturbed - predicted)
        return
    for block in source.blocks():
        yield block.whitened()


def survivors_weights(weights: FloatArray, kept: Sequence[int]) -> FloatArray:
    r"""Return the weights of some of the members on each other.

    What they had of the others is shared out equally, which moves each of them by its weight on a member that
    was left behind, times how far that member is from the others' mean.

    Laws: all kept changes nothing; weights of zero stay zero; members without weights on those left behind
    do not move.
    """
    if len(kept) == len(weights):
        return weights
    # Weights multiply anomalies over the root of the number of members less one.
    scale = np.sqrt((len(kept) - 1) / (len(weights) - 1))
    left: FloatArray = scale * weights[np.ix_(kept, kept)]
    left -= left.mean(axis=1, keepdims=True)
    return left


def transform_of_weights(weights: FloatArray) -> FloatArray:
    """Return T (n_members, n_members): the members that weights stand for are ``T @ prior``."""
    transform: FloatArray = weights - weights.mean(axis=1, keepdims=True)
    transform /= np.sqrt(len(weights) - 1)
    transform[np.diag_indices_from(transform)] += 1.0
    return transform


def costs(weights: FloatArray, sums: PredictionSums) -> FloatArray:
    r"""Return :math:`\tfrac12 |w|^2 + \tfrac12 |E|^2` of each member (n_members,)."""
    return np.asarray(0.5 * (np.square(weights).sum(axis=1) + sums.squares))


def gauss_newton(
    weights: FloatArray, sums: PredictionSums, step_length: float, span: FloatArray | None = None
) -> FloatArray:
    """Return the weights (n_members, n_members) after a step of Gauss-Newton.

    Parameters
    ----------
    weights
        As they are now.
    sums
        Of the members that they stand for.
    step_length
        Above 0, up to 1.
    span : (n_members, rank) or None
        `daflow.numerics.smoothers.iterative_smoothers.member_span`.

    Raises
    ------
    DataError
        Members that have been mixed so that they no longer differ.
    ConfigError
        A step length out of range.
    CombinationError
        Predictions whose spread hides the observation error.
    """
    if not 0 < step_length <= 1:
        raise ConfigError("the length of a step is out of range", got=step_length, allowed="above 0, up to 1")
    gram, products = _per_weight(weights, sums, span)
    target = cholesky_solve(_damped(gram, 1.0), products + weights @ gram)
    return weights + step_length * (target - weights)


def levenberg_marquardt(
    weights: FloatArray, sums: PredictionSums, damping: float, span: FloatArray | None = None
) -> FloatArray:
    """Return the weights (n_members, n_members) after a step of Levenberg-Marquardt.

    ``damping`` is 0 or more; the others, and what is raised, are as for `gauss_newton`.
    """
    if not 0 <= damping < np.inf:
        raise ConfigError("the damping of a step is out of range", got=damping, allowed="0 or more")
    gram, products = _per_weight(weights, sums, span)
    return weights - cholesky_solve(_damped(gram, 1.0 + damping), weights - products)


def _per_weight(
    weights: FloatArray, sums: PredictionSums, span: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return S S' and E S' with the predicted anomalies S per unit of weights."""
    n = len(weights)
    mixing = np.eye(n) + (weights - weights.mean(axis=0)) / np.sqrt(n - 1)
    condition = float(np.linalg.cond(mixing))
    if not condition <= WORST_CONDITION:
        raise DataError(
            "the members have been mixed so that they no longer differ in all directions",
            got=f"a condition number of {condition:.3g}",
            do="use shorter steps, or more damping",
        )
    back = np.linalg.inv(mixing)
    if span is not None:
        basis, _ = np.linalg.qr(mixing @ span)
        back = back @ basis @ basis.T
    back /= np.sqrt(n - 1)
    gram = back @ sums.gram @ back.T
    return still_finite((gram + gram.T) / 2), still_finite(sums.products @ back.T)


def _damped(gram: FloatArray, identity: float) -> FloatArray:
    """Return the Cholesky factor of S S' plus a multiple of the identity."""
    products = gram.copy()
    products[np.diag_indices_from(products)] += identity
    try:
        return cholesky(products)
    except np.linalg.LinAlgError:
        raise error_is_hidden() from None
