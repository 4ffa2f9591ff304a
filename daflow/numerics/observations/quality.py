r"""Which observations to believe: departures from the ensemble in units of what they should be.

With independent errors an innovation of the mean has the variance :math:`\sigma_p^2 + r`, of predictions and
observation together. Where it is much larger than that allows, observation, error or ensemble is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import ConfigError
from daflow.numerics.arrays.ensembles import ensemble_of, mean_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import FloatArray, finite_array, positive_vector


def standardized_departures(
    predicted: ArrayLike, observations: ArrayLike, variances: ArrayLike
) -> FloatArray:
    r"""Return :math:`(y - \bar h) / \sqrt{\sigma_p^2 + r}` (n_obs,).

    Laws: where ensemble and errors are right, its variance is 1; units of the observations do not matter.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations, variances : (n_obs,)
        What was observed, and the variances of its errors.
    """
    errors = positive_vector("observation-error variances", variances)
    ensemble = ensemble_of("predicted", predicted, errors.size)
    innovation = finite_array("observations", observations, errors.shape) - mean_of(ensemble)
    spread = np.square(anomalies_of(ensemble)).sum(axis=0) / (len(ensemble) - 1)
    return np.asarray(innovation / np.sqrt(spread + errors))


def background_check(
    predicted: ArrayLike, observations: ArrayLike, variances: ArrayLike, threshold: float = 3.0
) -> NDArray[np.bool_]:
    """Return which observations to keep (n_obs,): True where the departure is within a threshold.

    Laws: a larger threshold never drops more; an infinite one keeps all.

    Parameters
    ----------
    predicted, observations, variances
        As for `standardized_departures`.
    threshold
        In standard deviations of the departure, above 0.
    """
    if not threshold > 0:
        raise ConfigError("the threshold of a background check", got=threshold, allowed="above 0")
    return np.abs(standardized_departures(predicted, observations, variances)) <= threshold


def robust_outliers(departures: ArrayLike, threshold: float = 3.5) -> NDArray[np.bool_]:
    """Return which departures (n_obs,) are far from the others, whatever the ensemble says of its spread.

    Distances from the median in units of the median absolute deviation, scaled to a normal's standard
    deviation. Source: Iglewicz & Hoaglin (1993), How to detect and handle outliers. Where more
    than half agree exactly, those that differ at all are outliers. Laws: shifts and units do not matter.
    """
    if not threshold > 0:
        raise ConfigError("the threshold for outliers", got=threshold, allowed="above 0")
    values = finite_array("departures", departures, (None,))
    if values.size == 0:
        return np.zeros(0, dtype=np.bool_)
    distance = np.abs(values - np.median(values))
    return np.asarray(distance > threshold * 1.4826 * np.median(distance))
