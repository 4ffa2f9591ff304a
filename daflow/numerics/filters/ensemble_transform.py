r"""Analyses that are a right-multiplication: the posterior's members are combinations of the prior's.

With the prior's mean and anomalies A (n_members, n_state) the posterior is

.. math:: \bar x + w A + T A,

with weights w (n_members,) for the mean and a matrix T (n_members, n_members) for the anomalies. Both are
made once from predictions and observations, whatever the size of the state; a slice then costs one product
of matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import checked_members, ensemble_of, mean_of
from daflow.numerics.arrays.linalg import Modes, anomalies_of, extended_triangle, modes_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.inversion.innovation import quiet_overflow, still_finite
from daflow.numerics.obs_error.covariance import (
    Covariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
    as_covariance,
)
from daflow.numerics.observations.blocks import BlockedInnovations


class EnsembleTransform(NamedTuple):
    """An analysis in ensemble space."""

    mean_weights: FloatArray
    """w (n_members,): the posterior's mean is the prior's plus ``w @ anomalies``."""
    anomaly_transform: FloatArray
    """T (n_members, n_members): the posterior's anomalies are ``T @ anomalies``; its columns all have the
    same sum, so that these have mean zero."""

    @property
    def weights(self) -> FloatArray:
        """Return W (n_members, n_members): what the update adds to a slice is ``W @ anomalies``."""
        change: FloatArray = self.anomaly_transform + self.mean_weights
        change[np.diag_indices_from(change)] -= 1.0
        return change

    @property
    def matrix(self) -> FloatArray:
        """Return M (n_members, n_members), rows of sum one: the posterior of any slice is ``M @ prior``."""
        matrix = self.weights
        matrix -= matrix.mean(axis=1, keepdims=True)
        matrix[np.diag_indices_from(matrix)] += 1.0
        return matrix


def apply_transform(transform: EnsembleTransform, prior: ArrayLike) -> FloatArray:
    """Return the posterior (n_members, n_state) of any slice of the state.

    Laws: each slice gives what the whole gives; it commutes with linear maps of the state; the identity
    transform returns the prior, to the bit.

    Raises
    ------
    DataError
        The prior is not finite or has another number of members.
    """
    state = finite_array("prior", prior, (len(transform.mean_weights), None))
    posterior: FloatArray = transform.weights @ anomalies_of(state)
    posterior += state
    return posterior


def rotated(transform: EnsembleTransform, rotation: ArrayLike) -> EnsembleTransform:
    """Return a transform whose anomalies are mixed by a mean-preserving rotation (n_members, n_members).

    Laws: neither the mean nor the covariance of the posterior changes.
    """
    n_members = len(transform.mean_weights)
    mixing = finite_array("rotation", rotation, (n_members, n_members))
    return EnsembleTransform(transform.mean_weights, mixing @ transform.anomaly_transform)


def mean_preserving_rotation(standard_normals: ArrayLike) -> FloatArray:
    r"""Return a random orthogonal matrix Q (n_members, n_members) with Q 1 = 1, uniform among them.

    Source: Sakov & Oke (2008), Monthly Weather Review 136, 1042. Laws: Q is orthogonal; its rows
    and columns sum to one; the same normals give the same Q.

    Parameters
    ----------
    standard_normals : (n_members - 1, n_members - 1)
    """
    draws = finite_array("standard_normals", standard_normals, (None, None))
    if draws.shape[0] != draws.shape[1]:
        raise DataError(
            "a rotation is drawn from a square of normals",
            got=draws.shape,
            allowed="(n_members - 1, n_members - 1)",
        )
    basis = mean_free_basis(len(draws) + 1)
    orthogonal, triangle = np.linalg.qr(draws)
    # Without the signs the draw would not be uniform: Mezzadri (2007), Notices of the AMS 54, 592.
    orthogonal *= np.where(np.diagonal(triangle) < 0, -1.0, 1.0)
    rotation: FloatArray = basis @ orthogonal @ basis.T
    rotation += 1.0 / len(basis)
    return rotation


def mean_free_basis(n_members: int) -> FloatArray:
    """Return orthonormal columns (n_members, n_members - 1) that each sum to zero."""
    column = np.arange(1, n_members)
    basis = np.triu(np.ones((n_members, n_members - 1)))
    basis[column, column - 1] = -column
    basis /= np.sqrt(column * (column + 1.0))
    return basis


class InnovationModes(NamedTuple):
    r"""What the members disagree on, in units of the observation error, and what was observed of it.

    With whitened anomalies over :math:`\sqrt{n_{members} - 1}`, :math:`Z = V s U^T`, and the whitened
    innovation d of the mean, all square-root filters are functions of V, s and :math:`U^T d`.
    """

    modes: Modes
    innovation: FloatArray
    """U'd (rank,)."""

    @property
    def n_members(self) -> int:
        """How many members."""
        return int(self.modes.members.shape[0])

    def combine(self, values: FloatArray) -> FloatArray:
        """Return V values (n_members,) for values (rank,)."""
        combined: FloatArray = self.modes.members @ values
        return combined

    def function(self, values: FloatArray) -> FloatArray:
        """Return the identity plus V diag(values) V' (n_members, n_members)."""
        matrix: FloatArray = (self.modes.members * values) @ self.modes.members.T
        matrix[np.diag_indices_from(matrix)] += 1.0
        return matrix

    def mean_weights(self) -> FloatArray:
        r"""Return the weights of the Kalman mean, :math:`V s (1 + s^2)^{-1} U^T d / \sqrt{n - 1}`."""
        values = self.modes.values
        scale = float(np.sqrt(self.n_members - 1))
        return self.combine(values / (1 + values**2) * self.innovation / scale)


def innovation_modes(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> InnovationModes:
    """Return the modes of an ensemble of predictions.

    Cost: n_obs n_members min(n_obs, n_members) with a diagonal R.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations : (n_obs,)
        What was observed, not perturbed.
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).

    Raises
    ------
    DataError
        Arrays that are not finite or whose shapes disagree, fewer than two members, or numbers that
        overflow in units of the observation error.
    """
    covariance = as_covariance(obs_error)
    ensemble = ensemble_of("predicted", predicted, covariance.n_obs)
    observed = finite_array("observations", observations, (covariance.n_obs,))
    with quiet_overflow():
        return _modes(covariance, anomalies_of(ensemble), observed - mean_of(ensemble))


def modes_by_blocks(source: BlockedInnovations) -> InnovationModes:
    """Return the modes of predictions that are read by blocks, as many as there may be.

    A QR factorization that is carried from block to block turns anomalies, shared errors and the innovation
    into a few observations that carry all of the signal (as
    `daflow.numerics.inversion.blocked_projection.compress`). It squares nothing: no digit is lost that the
    whole keeps.

    Laws: an analysis made of them equals the one made of `innovation_modes`; the size of the blocks does not
    matter. Cost 2 n_obs (n_members + k)^2 with k shared errors, one pass; memory (n_members + k)^2 and a
    window of observations.

    Parameters
    ----------
    source
        Predictions, what was observed, and R.

    Raises
    ------
    DataError
        As `innovation_modes`.
    """
    n_members, n_signal = checked_members(source.n_members), source.n_members + source.n_patterns
    triangle = np.empty((0, n_signal + 1))
    with quiet_overflow():
        for _, rows in source.whitened():
            triangle = extended_triangle(triangle, still_finite(rows))
        # What is left of the innovation below the signal's rows is seen by no member.
        few = still_finite(triangle[:n_signal].T)
        shared = few[n_members:n_signal]
        units = np.ones(few.shape[1])
        error: Covariance = (
            LowRankPlusDiagonalCovariance(shared.T, units) if len(shared) else DiagonalCovariance(units)
        )
        return _modes(error, few[:n_members], few[n_signal])


def _modes(error: Covariance, anomalies: FloatArray, innovation: FloatArray) -> InnovationModes:
    whitened = error.whiten(anomalies) / np.sqrt(len(anomalies) - 1)
    departure = error.whiten(innovation)
    modes = modes_of(still_finite(whitened))
    still_finite(np.square(modes.values))
    return InnovationModes(modes, still_finite(departure) @ modes.basis)
