"""How well an ensemble explains the observations, and how wide it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import DataError

FloatArray = NDArray[np.float64]


def normalized_misfit(predicted: ArrayLike, values: ArrayLike, standard_deviation: ArrayLike) -> FloatArray:
    """Return each member's mean misfit per observation, mean(((value - predicted) / std)^2).

    Parameters
    ----------
    predicted
        (n_members, n_obs).
    values, standard_deviation
        (n_obs,) the observed values and the standard deviations of their errors, above 0.

    Returns
    -------
    ndarray
        (n_members,); about 1 where a member explains the observations as well as their errors allow.

    Raises
    ------
    daflow.errors.DataError
        Shapes disagree, there is no observation, a number is not finite or a standard deviation not above 0.

    Notes
    -----
    Laws: 0 for a perfect prediction; does not know the units.
    """
    residual, deviation = _residual(predicted, values), _vector("standard_deviation", standard_deviation)
    if deviation.shape != residual.shape[1:] or not (deviation > 0.0).all():
        allowed = f"{residual.shape[1:]}, above 0"
        raise DataError("The standard deviations of the observations", got=deviation.shape, allowed=allowed)
    return np.asarray(np.mean(np.square(residual / deviation), axis=1))


def spread(ensemble: ArrayLike) -> FloatArray:
    """Return the standard deviation over the members (n,) of an ensemble (n_members, n), ddof 1.

    Raises
    ------
    daflow.errors.DataError
        Fewer than two members, or a number that is not finite.

    Notes
    -----
    Laws: 0 where members agree; does not know a shift; scales with the ensemble.
    """
    members = np.asarray(ensemble, dtype=np.float64)
    if members.ndim != 2 or len(members) < 2:
        allowed = "(n_members, n), two members or more"
        raise DataError("The spread of an ensemble", got=members.shape, allowed=allowed)
    if not np.isfinite(members).all():
        raise DataError("An ensemble is not finite", do="leave out the members that are not")
    return np.asarray(np.std(members, axis=0, ddof=1))


def _residual(predicted: ArrayLike, values: ArrayLike) -> FloatArray:
    ensemble, observed = np.asarray(predicted, dtype=np.float64), _vector("values", values)
    if ensemble.ndim != 2 or ensemble.shape[1] != len(observed) or len(observed) == 0:
        allowed = f"(n_members, {len(observed)}), one observation or more"
        raise DataError("The predicted observations", got=ensemble.shape, allowed=allowed)
    if not np.isfinite(ensemble).all():
        member = int(np.argmax(~np.isfinite(ensemble).all(axis=1)))
        raise DataError(f"The predictions of member {member} (counted from 0) are not finite")
    return observed - ensemble


def _vector(name: str, values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        allowed = "(n_obs,), finite"
        raise DataError(f"The {name} of the observations", got=array.shape, allowed=allowed)
    return array
