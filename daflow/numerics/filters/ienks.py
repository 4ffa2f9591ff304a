r"""The iterative ensemble Kalman smoother: the mode of one cost, by Gauss-Newton in ensemble space.

The cost is that of the weights w of the prior's anomalies A (over the root of n_members - 1),

.. math:: J(w) = \tfrac12 |w|^2 + \tfrac12 |y - g(\bar x + w A)|^2_{R^{-1}} ,

with observations that are not perturbed and may lie anywhere in a window after the state's time. An iteration
runs the model from the ensemble that the transform gives; the next transform follows from the predictions.
With the inverse root of the Hessian for the anomalies (the *transform* variant) this ensemble is the analysis
itself; with a small multiple of the identity (the *bundle* variant, `bundled`) it is a finite difference.

Source: Bocquet & Sakov (2014), Q. J. R. Meteorol. Soc. 140, 1521.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.filters.ensemble_transform import EnsembleTransform
from daflow.numerics.inversion.innovation import quiet_overflow, still_finite
from daflow.numerics.obs_error.covariance import Covariance, as_covariance


class IterationStep(NamedTuple):
    """An iteration's end."""

    transform: EnsembleTransform
    """Of the *prior*, anomalies by the inverse root of the Hessian: the analysis, if this was the last."""
    change: float
    """The root mean square of the change of the weights w: below 1e-3 or so nothing more happens."""


def no_transform(n_members: int) -> EnsembleTransform:
    """Return the transform that the first iteration starts from: the prior as it is."""
    return EnsembleTransform(np.zeros(n_members), np.eye(n_members))


def bundled(transform: EnsembleTransform, scale: float = 1e-4) -> EnsembleTransform:
    """Return a transform to the same mean with the prior's anomalies, scaled, for a finite difference.

    Parameters
    ----------
    transform
        Of an `iteration`.
    scale
        Above 0.
    """
    if not 0 < scale <= 1:
        raise ConfigError("the scale of a bundle is out of range", got=scale, allowed="above 0, up to 1")
    return EnsembleTransform(transform.mean_weights, scale * np.eye(len(transform.mean_weights)))


def cost(
    transform: EnsembleTransform,
    predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
) -> float:
    """Return J at the weights of a transform; infinite where predictions are not finite.

    The mean of the ensemble's predictions stands for the prediction of its mean. Steps of Gauss-Newton need
    not lower J where predictions are far from linear: where one does not, take a `part_of_step`.

    Parameters
    ----------
    transform
        The transform whose ensemble was run.
    predicted, observations, obs_error
        As for `iteration`.
    """
    values = np.asarray(predicted, dtype=np.float64)
    if not np.isfinite(values).all():
        return float("inf")
    covariance = as_covariance(obs_error)
    ensemble = ensemble_of("predicted", values, covariance.n_obs)
    departure = finite_array("observations", observations, (covariance.n_obs,)) - mean_of(ensemble)
    weights = transform.mean_weights
    with quiet_overflow():
        misfit = float(departure @ covariance.solve(departure))
    return 0.5 * ((len(weights) - 1) * float(weights @ weights) + misfit)


def part_of_step(used: EnsembleTransform, found: EnsembleTransform, fraction: float) -> EnsembleTransform:
    """Return a transform whose weights are a fraction of the way from one to another, anomalies the other's.

    Laws: a fraction of 1 is the other; 0 keeps the weights.
    """
    step = found.mean_weights - used.mean_weights
    return EnsembleTransform(used.mean_weights + fraction * step, found.anomaly_transform)


def iteration(
    used: EnsembleTransform,
    predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
) -> IterationStep:
    """Return the transform after a step of Gauss-Newton.

    Laws: with linear predictions one iteration from anywhere ends at the ETKF's analysis, and there it stays,
    in both variants; where iterations stop, the gradient of the cost is zero but for the linearization.

    Parameters
    ----------
    used
        The transform whose ensemble was run: `no_transform`, the last one, or that `bundled`.
    predicted : (n_members, n_obs)
        The predictions of that ensemble, all in the window side by side.
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).

    Raises
    ------
    DataError
        Arrays that cannot be used, or a transform that cannot be undone.
    """
    covariance = as_covariance(obs_error)
    ensemble = ensemble_of("predicted", predicted, covariance.n_obs)
    n = len(ensemble)
    if used.anomaly_transform.shape != (n, n):
        raise DataError(
            "the transform is of another ensemble", got=used.anomaly_transform.shape, allowed=(n, n)
        )
    if np.linalg.cond(used.anomaly_transform) > 1e12:
        raise DataError(
            "the transform of an iteration cannot be undone",
            got=f"a condition number of {np.linalg.cond(used.anomaly_transform):.3g}",
            do="use the bundle variant",
        )
    observed = finite_array("observations", observations, (covariance.n_obs,))
    root_n = np.sqrt(n - 1)
    with quiet_overflow():
        anomalies = np.linalg.solve(used.anomaly_transform, anomalies_of(ensemble)) / root_n
        signal = still_finite(covariance.whiten(anomalies))
        innovation = still_finite(covariance.whiten(observed - mean_of(ensemble)))
    weights = root_n * used.mean_weights
    eigenvalues, vectors = np.linalg.eigh(signal @ signal.T)
    curvature = 1 + np.maximum(eigenvalues, 0.0)
    step = _through(vectors, 1 / curvature) @ (signal @ innovation - weights)
    root = _through(vectors, 1 / np.sqrt(curvature))
    found = EnsembleTransform((weights + step) / root_n, root)
    return IterationStep(found, float(np.sqrt(np.square(step).mean())))


def _through(vectors: FloatArray, values: FloatArray) -> FloatArray:
    matrix: FloatArray = (vectors * values) @ vectors.T
    return matrix
