r"""Iterative ensemble smoothers: each member's own minimum, sought in the span of the prior's anomalies.

With the prior's anomalies A (over the root of n_members - 1), member j is

.. math:: x_j = x_{0j} + w_j A, \qquad J(w_j) = \tfrac12 |w_j|^2 + \tfrac12 |d_j - g(x_j)|^2_{R^{-1}}

with its own perturbed observations d, the same in all iterations. What predictions do when weights change is
estimated from the ensemble in hand: its predicted anomalies are brought back to the prior's by the inverse of
how the members have been mixed. Only predictions and weights are needed for a step; the state is touched once
an iteration, by a product of the weights with the prior's slice.

Where the state has fewer numbers than the members less one, part of the predicted anomalies is not linear in
the state, and must be projected away: give the ``span`` then (Raanes et al., 2019).

References
----------
Evensen, Raanes, Stordal & Hove (2019), Frontiers in Applied Mathematics and Statistics 5, 47 (Gauss-Newton).
Raanes, Stordal & Evensen (2019), Nonlinear Processes in Geophysics 26, 325. Chen & Oliver (2013),
Computational Geosciences 17, 689 (Levenberg-Marquardt).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import ConfigError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.obs_error.covariance import Covariance, as_covariance
from daflow.numerics.observations.blocks import blocks_of_arrays
from daflow.numerics.smoothers.weight_steps import (
    PredictionSums,
    costs,
    gauss_newton,
    levenberg_marquardt,
    sums_of_predictions,
)


def no_weights(n_members: int) -> FloatArray:
    """Return the weights of the prior (n_members, n_members): zeros."""
    return np.zeros((n_members, n_members))


def apply_weights(weights: ArrayLike, prior: ArrayLike) -> FloatArray:
    """Return the members (n_members, n_state) that weights stand for, on any slice of the *prior*.

    Laws: zeros give the prior, to the bit; each slice gives what the whole gives.
    """
    state = ensemble_of("prior", prior)
    mixed = finite_array("weights", weights, (len(state), len(state))) / np.sqrt(len(state) - 1)
    members: FloatArray = mixed @ anomalies_of(state)
    members += state
    return members


def member_span(gram: ArrayLike) -> FloatArray:
    """Return an orthonormal basis (n_members, rank) of what the prior's members differ in.

    Parameters
    ----------
    gram : (n_members, n_members)
        Products of the prior's anomalies with each other, `daflow.numerics.diagnostics.information.gram_of`,
        all slices together.
    """
    products = finite_array("products of anomalies", gram, (None, None))
    eigenvalues, vectors = np.linalg.eigh(products)
    noise = len(products) * np.finfo(np.float64).eps * max(float(eigenvalues[-1]), 0.0)
    basis: FloatArray = vectors[:, eigenvalues > noise]
    return basis


class Predictions(NamedTuple):
    """What a step looks at."""

    predicted: ArrayLike
    """(n_members, n_obs), of the members as they are now."""
    perturbed_observations: ArrayLike
    """(n_members, n_obs): the observations with a draw of N(0, R) for each member, the same in all steps."""
    obs_error: Covariance | ArrayLike
    """R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs)."""


def gauss_newton_step(
    weights: ArrayLike, given: Predictions, *, step_length: float = 1.0, span: ArrayLike | None = None
) -> FloatArray:
    r"""Return the weights (n_members, n_members) after a step of Gauss-Newton.

    .. math:: w_j \leftarrow w_j + h [(d_j - g_j + w_j S)(S^T S + R)^{-1} S^T - w_j]

    with predicted anomalies S per unit of weights. Laws: with linear predictions a step of length 1 from any
    weights ends at the update of the ensemble smoother; there it stays; units of the observations do not
    matter.

    Parameters
    ----------
    weights : (n_members, n_members)
        As they are now; `no_weights` at first.
    given
        Predictions, observations and R.
    step_length
        h, above 0, up to 1.
    span : (n_members, rank) or None
        Of `member_span`; ``None`` where the state has n_members - 1 numbers or more.

    Raises
    ------
    DataError
        Arrays that cannot be used, or members that have been mixed so that they no longer differ.
    ConfigError
        A step length out of range.
    """
    now, sums = _sums(weights, given)
    return gauss_newton(now, sums, step_length, _basis(span, len(now)))


def levenberg_marquardt_step(
    weights: ArrayLike, given: Predictions, *, damping: float, span: ArrayLike | None = None
) -> FloatArray:
    r"""Return the weights (n_members, n_members) after a step of Levenberg-Marquardt (LM-EnRML).

    .. math:: w_j \leftarrow w_j - [w_j - (d_j - g_j) R^{-1} S^T] [(1 + \lambda) I + S R^{-1} S^T]^{-1}

    The prior's part of the Hessian is multiplied by one plus the damping, as Chen & Oliver have it, here in
    weights. Laws: no damping is a step of Gauss-Newton of length 1; an infinite one moves nothing.

    Parameters
    ----------
    weights, given, span
        As for `gauss_newton_step`.
    damping
        lambda, 0 or more; see `next_damping`.
    """
    now, sums = _sums(weights, given)
    return levenberg_marquardt(now, sums, damping, _basis(span, len(now)))


def next_damping(damping: float, before: ArrayLike, after: ArrayLike, *, factor: float = 10.0) -> float:
    """Return the damping after a step: divided by a factor if the mean cost fell, else multiplied.

    A step after which the cost rose is to be taken back and tried again with the larger damping.

    Parameters
    ----------
    damping
        Of the step, above 0.
    before, after : (n_members,)
        `member_costs`.
    factor
        Above 1.
    """
    if not (damping > 0 and factor > 1):
        got = f"damping {damping}, factor {factor}"
        raise ConfigError("damping cannot be adapted", got=got, allowed="damping above 0, factor above 1")
    fell = finite_array("costs", after, (None,)).mean() < finite_array("costs", before, (None,)).mean()
    return damping / factor if fell else damping * factor


def member_costs(weights: ArrayLike, given: Predictions) -> FloatArray:
    """Return J of each member (n_members,): what the steps bring down."""
    return costs(*_sums(weights, given))


def _sums(weights: ArrayLike, given: Predictions) -> tuple[FloatArray, PredictionSums]:
    covariance = as_covariance(given.obs_error)
    predicted = ensemble_of("predicted", given.predicted, covariance.n_obs)
    observed = finite_array("perturbed_observations", given.perturbed_observations, predicted.shape)
    now = finite_array("weights", weights, (len(predicted), len(predicted)))
    return now, sums_of_predictions(blocks_of_arrays(predicted, observed, covariance))


def _basis(span: ArrayLike | None, n_members: int) -> FloatArray | None:
    return None if span is None else finite_array("span", span, (n_members, None))
