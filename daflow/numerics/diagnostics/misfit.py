"""How well an ensemble explains the observations, and how wide it is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import DataError

FloatArray = NDArray[np.float64]


class Solvable(Protocol):
    """An observation-error covariance R, as far as the misfit needs it."""

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(R)`` for rows (k, n_obs)."""
        ...


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
    Laws: 0 for a perfect prediction; does not know the units; for independent errors it is twice
    `data_misfit` divided by n_obs.
    """
    residual, deviation = _residual(predicted, values), _vector("standard_deviation", standard_deviation)
    if deviation.shape != residual.shape[1:] or not (deviation > 0.0).all():
        allowed = f"{residual.shape[1:]}, above 0"
        raise DataError("The standard deviations of the observations", got=deviation.shape, allowed=allowed)
    return np.asarray(np.mean(np.square(residual / deviation), axis=1))


def data_misfit(predicted: ArrayLike, values: ArrayLike, obs_error: Solvable) -> FloatArray:
    """Return each member's data misfit 1/2 r' inv(R) r with its residual r = value - predicted.

    Parameters
    ----------
    predicted
        (n_members, n_obs).
    values
        (n_obs,).
    obs_error
        The covariance R of the observations' errors.

    Returns
    -------
    ndarray
        (n_members,); about n_obs / 2 for members of a posterior that explains the observations.

    Raises
    ------
    daflow.errors.DataError
        Shapes disagree, there is no observation, or a number is not finite.

    Notes
    -----
    Source: Oliver, Reynolds & Liu (2008), Inverse Theory for Petroleum Reservoir Characterization, 7.3.

    Laws: 0 for a perfect prediction; grows with the square of the residual.
    """
    residual = _residual(predicted, values)
    return np.asarray(0.5 * np.einsum("ij,ij->i", residual, obs_error.solve(residual)))


def misfit_by_group(
    predicted: ArrayLike, values: ArrayLike, standard_deviation: ArrayLike, groups: ArrayLike
) -> dict[Any, FloatArray]:
    """Return `normalized_misfit` (n_members,) for each group of observations.

    Parameters
    ----------
    predicted, values, standard_deviation
        As for `normalized_misfit`.
    groups
        (n_obs,) names or numbers; groups come in the order in which they first appear.

    Raises
    ------
    daflow.errors.DataError
        As for `normalized_misfit`, or groups of another shape.

    Notes
    -----
    Laws: the groups' misfits, weighted by their sizes, add up to the whole.
    """
    predicted, values, deviation = (np.asarray(a) for a in (predicted, values, standard_deviation))
    labels = np.asarray(groups)
    whole = normalized_misfit(predicted, values, deviation)
    if labels.shape != values.shape:
        raise DataError("The groups of the observations", got=labels.shape, allowed=values.shape)
    if (labels == labels[0]).all():
        return {labels.tolist()[0]: whole}
    masks = {label: labels == label for label in dict.fromkeys(labels.tolist())}
    return {
        label: normalized_misfit(predicted[:, mask], values[mask], deviation[mask])
        for label, mask in masks.items()
    }


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
