"""Rows of an output table, found for the rows of the observation table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from daflow.errors import OutputInvalid
from daflow.models.predictions import describe_row
from daflow.ports import ObservationTable

Column = NDArray[Any]


def match_rows(
    table: Mapping[str, Column],
    observations: ObservationTable,
    keys: Mapping[str, str],
    tolerance: float,
    source: str,
) -> NDArray[np.int64]:
    """Return, for each observation, the one row of ``table`` that agrees in all keys (n_obs,).

    ``keys`` maps columns of the table to columns of the observations. Numbers agree within ``tolerance``,
    texts when equal but for blanks around them. Cost O((n_rows + n_obs) log n_rows).

    Laws: the order of the table's rows does not matter; rows that no observation asks for do not either.

    Raises
    ------
    daflow.errors.OutputInvalid
        No row, or more than one, agrees with an observation.
    """
    pairs = [_coordinates(table[here], observations[there], tolerance) for here, there in keys.items()]
    points = np.stack([have for have, _ in pairs], axis=1)
    wanted = np.stack([want for _, want in pairs], axis=1)
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    askable = np.isfinite(wanted).all(axis=1)
    distance = np.full((len(wanted), 2), np.inf)
    rows = np.zeros((len(wanted), 2), dtype=np.int64)
    if known.size and askable.any():
        reach = float(np.nextafter(tolerance, np.inf))
        distance[askable], found = cKDTree(points[known]).query(
            wanted[askable], k=2, p=np.inf, distance_upper_bound=reach
        )
        rows[askable] = np.append(known, 0)[found]
    for bad, problem in ((~np.isfinite(distance[:, 0]), "no row"), (np.isfinite(distance[:, 1]), "two rows")):
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            asked = ", ".join(f"{here} = {observations[there][first]}" for here, there in keys.items())
            raise OutputInvalid(
                f"{source}: {problem} for {int(bad.sum())} of {len(wanted)} observations, first for "
                + describe_row(observations, first),
                got=f"{len(points)} rows",
                allowed=f"one row with {asked} (numbers within {tolerance:g})",
                do="did the program stop early? see its logs; else correct 'keys' or 'tolerance'",
            )
    return rows[:, 0]


def _coordinates(have: Column, want: Column, tolerance: float) -> tuple[Column, Column]:
    """Return both columns as numbers that lie within ``tolerance`` where they agree, and only there."""
    if have.dtype.kind in "iufb" and want.dtype.kind in "iufb":
        return have.astype(np.float64), want.astype(np.float64)
    texts = np.char.strip(np.concatenate([have.astype(str), want.astype(str)]))
    codes = np.unique(texts, return_inverse=True)[1] * (2.0 * tolerance + 1.0)
    return codes[: len(have)], codes[len(have) :]
