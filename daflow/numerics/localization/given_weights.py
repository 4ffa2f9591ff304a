"""Localization by weights that a user gives, where no distance between coordinates says it all."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.localization.cells import LocalizationPlan

NEIGHBOURS: Final = 64
"""Consecutive points a cell, which then hear the observations of any of them."""


def plan_of_weights(weights: ArrayLike) -> LocalizationPlan:
    """Return the localization plan of weights: rings, rivers, expert knowledge.

    Laws: with weights from a `daflow.numerics.localization.distance.DistanceTaper` every update is that of
    the plan of the taper (1e-12); points of weights 0 are in no cell.

    Parameters
    ----------
    weights : (n_state, n_obs)
        In [0, 1]. Points that follow each other should be neighbours.

    Raises
    ------
    DataError
        The weights are not finite or out of range.

    Notes
    -----
    Cost: as large as the weights, which are looked at as a matrix: for what fits in memory.
    """
    given = finite_array("localization weights", weights, (None, None))
    if given.size and (given.min() < 0 or given.max() > 1):
        raise DataError(
            "a localization weight is out of range", got=[given.min(), given.max()], allowed="[0, 1]"
        )
    points, obs, parts = [], [], []
    for start in range(0, len(given), NEIGHBOURS):
        block = given[start : start + NEIGHBOURS]
        here, heard = np.flatnonzero(block.any(axis=1)), np.flatnonzero(block.any(axis=0))
        if here.size:
            points.append(start + here)
            obs.append(heard)
            parts.append(np.ascontiguousarray(block[np.ix_(here, heard)].T).ravel())
    arrays = {
        "n_state": np.array(given.shape[0]),
        "n_obs": np.array(given.shape[1]),
        "group_starts": np.array([0, len(points)]),
        "weights": np.concatenate([np.zeros(0), *parts]),
    }
    for name, each in (("point", points), ("obs", obs), ("weight", parts)):
        arrays[f"{name}_starts"] = np.cumsum([0, *(part.size for part in each)])
    arrays["points"] = np.concatenate([np.zeros(0, np.int64), *points])
    arrays["obs"] = np.concatenate([np.zeros(0, np.int64), *obs])
    return LocalizationPlan.from_arrays(arrays)


def ring_distance(n: int) -> FloatArray:
    """Return the distances (n, n) along a ring of n points, in steps.

    Laws: symmetric; at most n / 2; turning the ring changes nothing.
    """
    steps = np.arange(n)
    apart = np.abs(steps[:, np.newaxis] - steps)
    shorter: FloatArray = np.minimum(apart, n - apart).astype(np.float64)
    return shorter
