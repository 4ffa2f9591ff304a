"""Localization by weights that a user gives, where no distance between coordinates says it all."""

from __future__ import annotations

from collections.abc import Iterable
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
    starts = range(0, len(given), NEIGHBOURS)
    return plan_of_blocks((given[start : start + NEIGHBOURS] for start in starts), given.shape[1])


def plan_of_blocks(blocks: Iterable[ArrayLike], n_obs: int) -> LocalizationPlan:
    """Return the plan of weights that come block by block along the state, a cell each.

    Law: with the blocks of `plan_of_weights` it gives the same plan. Memory: what the weights that are not 0
    take, in cells of all points and observations of a block that have any.

    Parameters
    ----------
    blocks
        (p, n_obs) each, in [0, 1]; some 64 points a block are best, fewer than some hundreds.
    n_obs
        How many observations.

    Raises
    ------
    DataError
        As `plan_of_weights`.
    """
    points, obs, parts = [], [], []
    n_state = 0
    for given in blocks:
        block = finite_array("localization weights", given, (None, n_obs))
        if block.size and (block.min() < 0 or block.max() > 1):
            got = [float(block.min()), float(block.max())]
            raise DataError("a localization weight is out of range", got=got, allowed="[0, 1]")
        here, heard = np.flatnonzero(block.any(axis=1)), np.flatnonzero(block.any(axis=0))
        if here.size:
            points.append(n_state + here)
            obs.append(heard)
            parts.append(np.ascontiguousarray(block[np.ix_(here, heard)].T).ravel())
        n_state += len(block)
    arrays = {
        "n_state": np.array(n_state),
        "n_obs": np.array(n_obs),
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
