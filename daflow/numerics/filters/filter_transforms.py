r"""One analysis of an ensemble filter without localization, as a transform of the ensemble.

Each takes the predictions of the forecast's members and what was observed, and returns an
`EnsembleTransform`; `daflow.numerics.filters.ensemble_transform.apply_transform` takes it to any slice of the
state. With K the Kalman gain of the ensemble's own covariance P and linear predictions H x:

==================== ============================ =====================================================
filter               mean                         covariance
==================== ============================ =====================================================
`etkf`               :math:`\bar x + K d`         :math:`(I - K H) P`
`denkf`              the same                     :math:`(I - K H) P + K H P H^T K^T / 4`
`stochastic_enkf`    the same, if perturbations   :math:`(I - K H) P` in the mean over perturbations
                     are centred
`gain_inflated_enkf` with the gain of an          that of the forecast as it is, under that gain
                     inflated forecast
==================== ============================ =====================================================

Laws of all: R to infinity gives the identity; permuting the members permutes the posterior; units of the
observations do not matter; constant predictions change nothing; for a linear-Gaussian problem and many
members they give the Kalman filter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.filters.ensemble_transform import EnsembleTransform, InnovationModes, innovation_modes
from daflow.numerics.inversion.updates import InversionSettings, global_transform
from daflow.numerics.obs_error.covariance import Covariance


def etkf(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> EnsembleTransform:
    r"""Return the analysis of the ensemble transform Kalman filter with the symmetric root.

    With the modes :math:`Z = V s U^T` of whitened anomalies, :math:`T = V (1 + s^2)^{-1/2} V^T` on their
    span and the identity outside. Source: Bishop, Etherton & Majumdar (2001), Monthly Weather Review 129,
    420; the symmetric root: Hunt, Kostelich & Szunyogh (2007), Physica D 230, 112.

    Laws: the mean is the Kalman mean; the covariance is (I - KH)P exactly; among all roots this one moves
    the members least, so without rotation each stays near itself.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    """
    return etkf_of(innovation_modes(predicted, observations, obs_error))


def etkf_of(found: InnovationModes) -> EnsembleTransform:
    """Return the analysis of `etkf`, given the modes of the predictions."""
    root = np.sqrt(1 + found.modes.values**2)
    # 1 / root - 1, written so that nothing cancels where the signal is small.
    change = -(found.modes.values**2) / (root * (1 + root))
    return EnsembleTransform(found.mean_weights(), found.function(change))


def denkf(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> EnsembleTransform:
    r"""Return the analysis of the deterministic EnKF: the anomalies are updated with half the gain.

    Source: Sakov & Oke (2008), Tellus A 60, 361. Laws: the mean is the Kalman mean; the covariance exceeds
    (I - KH)P by :math:`K H P H^T K^T / 4`, and so never falls below it.

    Parameters
    ----------
    predicted, observations, obs_error
        As for `etkf`.
    """
    return denkf_of(innovation_modes(predicted, observations, obs_error))


def denkf_of(found: InnovationModes) -> EnsembleTransform:
    """Return the analysis of `denkf`, given the modes of the predictions."""
    signal = found.modes.values**2
    return EnsembleTransform(found.mean_weights(), found.function(-0.5 * signal / (1 + signal)))


def stochastic_enkf(
    predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    perturbations: ArrayLike,
) -> EnsembleTransform:
    """Return the analysis of the EnKF with perturbed observations.

    Source: Burgers, van Leeuwen & Evensen (1998), Monthly Weather Review 126, 1719. Laws: it is one update
    of ES-MDA with alpha 1; with `recentred` perturbations the mean is the Kalman mean.

    Parameters
    ----------
    predicted, observations, obs_error
        As for `etkf`.
    perturbations : (n_members, n_obs)
        A draw of N(0, R) for each member, raw or `recentred`.
    """
    return _perturbed(predicted, observations, obs_error, perturbations, 1.0)


def gain_inflated_enkf(
    predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    perturbations: ArrayLike,
    inflation: float,
) -> EnsembleTransform:
    r"""Return the analysis of an EnKF whose gain alone sees an inflated forecast covariance.

    .. math::
        K_\zeta = (1 + \zeta) C_{xy} [(1 + \zeta) C_{yy} + R]^{-1} = C_{xy} [C_{yy} + R / (1 + \zeta)]^{-1}

    Anomalies are not inflated and perturbations have covariance R: the posterior is not that of an inflated
    forecast, for which inflate the forecast itself and use `stochastic_enkf`.

    Laws: an inflation of 0 is `stochastic_enkf`; the gain is that of R over 1 + inflation.

    Parameters
    ----------
    predicted, observations, obs_error, perturbations
        As for `stochastic_enkf`.
    inflation
        Zeta, above -1; in the gain the forecast's covariance counts 1 + zeta times.

    Raises
    ------
    DataError
        The inflation is not finite or not above -1.
    """
    zeta = float(finite_array("inflation of the gain", inflation, ()))
    if not zeta > -1:
        raise DataError("inflation of the gain is out of range", got=zeta, allowed="above -1")
    return _perturbed(predicted, observations, obs_error, perturbations, 1 / (1 + zeta))


def recentred(perturbations: ArrayLike) -> FloatArray:
    """Return perturbations (n_members, n_obs) less their mean, scaled so that their variance is kept.

    Source: the scaling by sqrt(n / (n - 1)) undoes what centring takes from the variance. Laws: the mean is
    zero; the covariance over n_members (not n_members - 1) of many draws is what they were drawn from.

    Raises
    ------
    DataError
        Fewer than two rows, or numbers that are not finite.
    """
    draws = finite_array("perturbations", perturbations, (None, None))
    if len(draws) < 2:
        raise DataError("perturbations to centre need two members", got=len(draws), allowed="2 or more")
    centred = anomalies_of(draws)
    centred *= np.sqrt(len(draws) / (len(draws) - 1))
    return centred


def _perturbed(
    predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    perturbations: ArrayLike,
    alpha: float,
) -> EnsembleTransform:
    draws = finite_array("perturbations", perturbations, (None, None))
    observed = finite_array("observations", observations, (draws.shape[1],))
    whole = global_transform(predicted, observed + draws, obs_error, InversionSettings(alpha))
    mean_weights = whole.mean(axis=0) - 1.0 / len(whole)
    return EnsembleTransform(mean_weights, whole - mean_weights)
