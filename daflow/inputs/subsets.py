"""Observations with some left out, or believed less: table and errors alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.inputs.reconditioned import blocks_of
from daflow.ports import FloatArray, Observations

IntArray = NDArray[np.int64]


def kept_of(observations: Observations, rows: IntArray) -> Observations:
    """Return some of the observations, with the errors that they have among each other.

    Laws: those that are kept have the values, variances, covariances and random numbers that they had;
    keeping all returns the same object.

    Parameters
    ----------
    rows : (n,)
        Which, rising.
    """
    n_obs = len(observations.table["name"])
    if rows.size == n_obs:
        return observations
    numbers = np.arange(n_obs) if observations.numbers is None else observations.numbers
    return Observations(
        {name: np.asarray(column)[rows] for name, column in observations.table.items()},
        _error_of(observations.error, rows),
        numbers[rows].astype(np.int64),
        observations.notes,
    )


def inflated(observations: Observations, factors: FloatArray) -> Observations:
    """Return observations whose errors are larger by factors (n_obs,); correlations stay.

    Law: factors of 1 return the same object.
    """
    if (factors == 1.0).all():
        return observations
    table = dict(observations.table)
    table["error_std"] = np.asarray(table["error_std"], dtype=np.float64) * factors
    return replace(observations, table=table, error=_scaled(observations.error, factors))


def _error_of(error: Mapping[str, NDArray[Any]], rows: IntArray) -> Mapping[str, NDArray[Any]]:
    if "matrix" in error:
        return {"matrix": error["matrix"][np.ix_(rows, rows)]}
    if "factor" in error:
        return {name: array[rows] for name, array in error.items()}
    if not error:
        return {}
    stops = np.cumsum(error["block_sizes"])
    left = []
    for block, stop in zip(blocks_of(error), stops.tolist(), strict=True):
        first = stop - len(block)
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, stop)] - first
        if inside.size:
            left.append(block[np.ix_(inside, inside)])
    return _blocks(left)


def _scaled(error: Mapping[str, NDArray[Any]], factors: FloatArray) -> Mapping[str, NDArray[Any]]:
    if "matrix" in error:
        return {"matrix": error["matrix"] * np.multiply.outer(factors, factors)}
    if "factor" in error:
        return {
            "factor": error["factor"] * factors[:, np.newaxis],
            "variances": error["variances"] * factors**2,
        }
    if not error:
        return {}
    blocks = blocks_of(error)
    parts = np.split(factors, np.cumsum([len(block) for block in blocks])[:-1])
    return _blocks([b * np.multiply.outer(f, f) for b, f in zip(blocks, parts, strict=True)])


def _blocks(blocks: list[FloatArray]) -> Mapping[str, NDArray[Any]]:
    return {
        "blocks": np.concatenate([block.ravel() for block in blocks]),
        "block_sizes": np.array([len(block) for block in blocks], dtype=np.int64),
    }
