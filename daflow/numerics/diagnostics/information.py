r"""How much observations tell an ensemble, and how many directions an ensemble has.

All come from the modes :math:`Z = V s U^T` of the predictions in units of the observation error, at the cost
of an analysis without localization.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.filters.ensemble_transform import innovation_modes
from daflow.numerics.obs_error.covariance import Covariance, as_covariance


def degrees_of_freedom_for_signal(predicted: ArrayLike, obs_error: Covariance | ArrayLike) -> float:
    r"""Return how many directions the observations determine, :math:`tr(H K) = \sum s^2 / (1 + s^2)`.

    Laws: from 0 to the smaller of n_obs and n_members - 1; R to infinity gives 0, R to zero the rank; units
    of the observations do not matter. Source: Rodgers (2000), Inverse Methods for Atmospheric Sounding, 2.4.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    """
    signal = _signal(predicted, obs_error)
    return float((signal / (1 + signal)).sum())


def information_content(predicted: ArrayLike, obs_error: Covariance | ArrayLike) -> float:
    r"""Return the information that the observations bring, in nats, :math:`\frac12 \sum \ln(1 + s^2)`.

    Half the logarithm of the ratio of the determinants of prior and posterior covariance. Parameters as for
    `degrees_of_freedom_for_signal`.
    """
    return float(0.5 * np.log1p(_signal(predicted, obs_error)).sum())


def innovation_chi_square(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> float:
    r"""Return :math:`d^T (C_{yy} + R)^{-1} d / n_{obs}` with the innovation d of the mean.

    About 1 where ensemble and errors are right; above, where they promise too much. The mean of n members is
    itself in doubt, for which the covariance of the predictions counts (n + 1) / n times. Laws: its mean is
    1 for a truth drawn like the members and infinitely many of these; units of the observations do not
    matter.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations : (n_obs,)
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    """
    covariance = as_covariance(obs_error)
    found = innovation_modes(predicted, observations, covariance)
    ensemble = ensemble_of("predicted", predicted, covariance.n_obs)
    innovation = covariance.whiten(finite_array("observations", observations, (None,)) - mean_of(ensemble))
    signal = found.modes.values**2 * (len(ensemble) + 1) / len(ensemble)
    explained = found.innovation**2 * (signal / (1 + signal))
    return float(innovation @ innovation - explained.sum()) / covariance.n_obs


def gram_of(ensemble: ArrayLike, scales: ArrayLike | None = None) -> FloatArray:
    """Return products of members' anomalies (n_members, n_members). Those of slices add up.

    Parameters
    ----------
    ensemble : (n_members, n)
    scales : (n,) or None
        Typical sizes, to make numbers of several units comparable; above 0.
    """
    anomalies = anomalies_of(ensemble_of("ensemble", ensemble))
    if scales is not None:
        sizes = finite_array("scales", scales, anomalies.shape[1:])
        if not (sizes > 0).all():
            raise DataError("a scale is not positive", got=float(sizes.min()), allowed="above 0")
        anomalies = anomalies / sizes
    product: FloatArray = anomalies @ anomalies.T
    return product


def effective_rank(gram: ArrayLike) -> float:
    r"""Return how many directions an ensemble has, :math:`(\sum \lambda)^2 / \sum \lambda^2`.

    Laws: from 1 to n_members - 1, which it is where all directions are as wide; 0 where members agree;
    scaling the ensemble changes nothing. Source: Patil, Hunt, Kalnay, Yorke & Ott (2001), Physical Review
    Letters 86, 5878, with eigenvalues in the place of their roots.

    Parameters
    ----------
    gram : (n_members, n_members)
        Of `gram_of`, over all slices.
    """
    products = finite_array("products of anomalies", gram, (None, None))
    squares = float(np.square(products).sum())
    return float(np.trace(products)) ** 2 / squares if squares > 0 else 0.0


def _signal(predicted: ArrayLike, obs_error: Covariance | ArrayLike) -> FloatArray:
    covariance = as_covariance(obs_error)
    return np.square(innovation_modes(predicted, np.zeros(covariance.n_obs), covariance).modes.values)
