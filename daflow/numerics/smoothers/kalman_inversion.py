r"""Ensemble Kalman inversion: parameters that explain observations, by steps in an artificial time.

A step of length h from parameters u with predictions g is

.. math:: u \leftarrow u + C_{ug} (C_{gg} + R / h)^{-1} (\hat y - g) ,

with covariances over n_members (not n_members - 1), as is the custom here. Targets y may be perturbed by
:math:`\sqrt{1/h}\, L z` for each member, or be the observations themselves, which draws the ensemble
together. Steps that sum to 1 end near the posterior; longer times at the least misfit. Their lengths are
fixed, or one over `daflow.numerics.smoothers.adaptive_alphas.discrepancy_alpha`.

References
----------
Iglesias, Law & Stuart (2013), Inverse Problems 29, 045001. Huang, Huang, Reich & Stuart (2022), the same
journal 38, 125006 (transform inversion). Kovachki & Stuart (2019), 35, 095005 (momentum).
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import checked_members, ensemble_of, mean_of
from daflow.numerics.arrays.linalg import Modes
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_number
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, InnovationModes, innovation_modes
from daflow.numerics.inversion.updates import InversionSettings, global_transform
from daflow.numerics.obs_error.covariance import Covariance, as_covariance


def equivalent_alpha(time_step: float, n_members: int) -> float:
    r"""Return the alpha of ES-MDA that a step is, :math:`n / ((n - 1) h)`.

    With it any update of `daflow.numerics.inversion.updates`, its tapers and inversions included, is a step
    of inversion: what differs is that covariances are over n_members there and n_members - 1 here.
    """
    checked_members(n_members)
    return n_members / ((n_members - 1) * positive_number("time step of an inversion", time_step))


def perturbed_targets(
    observations: ArrayLike, obs_error: Covariance | ArrayLike, time_step: float, standard_normals: ArrayLike
) -> FloatArray:
    r"""Return the observations as each member sees them (n_members, n_obs), :math:`y + \sqrt{1/h} L z`.

    Parameters
    ----------
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    time_step
        h, above 0.
    standard_normals : (n_members, n_obs)
    """
    covariance = as_covariance(obs_error)
    normals = finite_array("standard_normals", standard_normals, (None, covariance.n_obs))
    values = finite_array("observations", observations, (covariance.n_obs,))
    return values + covariance.sample(normals) / sqrt(positive_number("time step of an inversion", time_step))


def inversion_transform(
    predicted: ArrayLike, targets: ArrayLike, obs_error: Covariance | ArrayLike, time_step: float
) -> EnsembleTransform:
    """Return a step of ensemble Kalman inversion without tapers.

    Laws: a step of length 0 in the limit is the identity; the ensemble stays in the span of its members; two
    unperturbed steps of a linear model shrink the misfit of the mean. Tapered steps: an update with
    `equivalent_alpha`. Cost: n_obs n_members^2 with a diagonal R and more observations than members.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    targets : (n_obs,) or (n_members, n_obs)
        The observations, or `perturbed_targets`.
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    time_step
        h, above 0.
    """
    ensemble = ensemble_of("predicted", predicted)
    wanted = finite_array("targets", targets, ensemble.shape[1:] if np.ndim(targets) == 1 else ensemble.shape)
    settings = InversionSettings(equivalent_alpha(time_step, len(ensemble)))
    whole = global_transform(ensemble, np.broadcast_to(wanted, ensemble.shape), obs_error, settings)
    mean_weights = whole.mean(axis=0) - 1.0 / len(whole)
    return EnsembleTransform(mean_weights, whole - mean_weights)


def transform_inversion(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike, time_step: float
) -> EnsembleTransform:
    r"""Return a step of ensemble transform Kalman inversion: no perturbations, cost linear in n_obs.

    :math:`\Omega = (I + h Z Z^T)^{-1}`, weights :math:`h \Omega Z d`, anomalies by :math:`\Omega^{1/2}`; here
    covariances are over n_members - 1.

    Laws: it is the ETKF with R / h; steps of a linear model whose lengths sum to 1 end at the
    ETKF's posterior, whatever they are.

    Parameters
    ----------
    predicted, observations, obs_error
        As for `inversion_transform`; R diagonal, or else whitening costs n_obs^2 n_members.
    time_step
        h, above 0.
    """
    return transform_of_modes(innovation_modes(predicted, observations, obs_error), time_step)


def transform_of_modes(found: InnovationModes, time_step: float) -> EnsembleTransform:
    """Return the step of `transform_inversion` for modes that are known.

    Parameters
    ----------
    found
        Of R, `daflow.numerics.filters.ensemble_transform.modes_by_blocks`.
    time_step
        h, above 0.
    """
    scale = sqrt(positive_number("time step of an inversion", time_step))
    modes = Modes(found.modes.members, scale * found.modes.values, found.modes.basis)
    scaled = InnovationModes(modes, scale * found.innovation)
    root = np.sqrt(1 + modes.values**2)
    return EnsembleTransform(scaled.mean_weights(), scaled.function(-(modes.values**2) / (root * (1 + root))))


def next_momentum(theta: float) -> float:
    r"""Return the next coefficient of Nesterov's recursion.

    It is :math:`(-\theta^2 + \sqrt{\theta^4 + 4 \theta^2}) / 2` and begins with 1.
    Law: :math:`\theta_{k+1}^2 = (1 - \theta_{k+1}) \theta_k^2`.
    """
    if not 0 < theta <= 1:
        raise DataError("a coefficient of momentum is out of range", got=theta, allowed="above 0, up to 1")
    # theta_k^2 (sqrt(1 + 4 / theta_k^2) - 1) / 2 without its cancellation.
    return 2 / (1 + sqrt(1 + 4 / theta**2))


def accelerated(current: ArrayLike, before: ArrayLike, theta: float, theta_before: float) -> FloatArray:
    r"""Return where the model is run next, :math:`v = u + \theta (1 / \theta_{before} - 1) (u - u_{before})`.

    u is what steps give and is kept; v is what the model sees and the next step starts from. Use it with
    observations that are not perturbed. Laws: at the first step, theta_before 1, nothing is added; it
    commutes with linear maps and slices of the parameters.

    Parameters
    ----------
    current, before : (n_members, n_state)
        The parameters after this step and the one before.
    theta, theta_before
        Of `next_momentum`, for this step and the one before.
    """
    now = finite_array("current", current, (None, None))
    return now + theta * (1 / theta_before - 1) * (now - finite_array("before", before, now.shape))


def misfit_of_mean(predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike) -> float:
    r"""Return :math:`(\bar g - y)^T R^{-1} (\bar g - y) / n_{obs}`, by which inversions are compared.

    About 1 where the mean explains the observations as well as their errors allow.
    """
    covariance = as_covariance(obs_error)
    ensemble = finite_array("predicted", predicted, (None, covariance.n_obs))
    residual = finite_array("observations", observations, (covariance.n_obs,)) - mean_of(ensemble)
    return float(residual @ covariance.solve(residual)) / covariance.n_obs
