"""The arrays that ports hand each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
StoredArray = NDArray[Any]
"""Numbers as a store keeps them, float64 or float32: `daflow.records.Layout.dtype` says which."""
ObservationTable = Mapping[str, NDArray[Any]]
"""Columns of equal length (n_obs,): ``name``, ``kind``, ``time``, ``x``, ``y``, ``z`` and the model's own."""


@dataclass(frozen=True, slots=True)
class Observations:
    """What was observed, and how far it can be trusted."""

    table: ObservationTable
    """With the columns ``value`` and ``error_std`` (n_obs,)."""
    error: Mapping[str, NDArray[Any]]
    """The observation-error covariance R: ``matrix``, or ``blocks`` and ``block_sizes``, or ``factor``
    and ``variances``, or nothing where it is diagonal and ``error_std`` says it all."""
    numbers: NDArray[np.int64] | None = None
    """(n_obs,) rising: the number of each in the table that they are part of, by which its random numbers are
    addressed; ``None``: they are all of it."""
    notes: tuple[str, ...] = ()
    """What was done to them when they were read, in words."""


Arrays = Mapping[str, NDArray[Any]]
"""Named arrays: what a method prepares once a step, or finds once a run for a slice."""

BlockReader = Callable[[int, int], FloatArray]
"""Predicted observations by blocks: (start, stop) -> (n_members, stop - start), a new array each time."""


@dataclass(frozen=True, slots=True)
class SlicePoints:
    """Where the numbers of a slice lie."""

    variable: NDArray[np.int64]
    """(n,) the number of each one's variable in ``Layout.variables``."""
    coordinates: FloatArray
    """(n, 3) x, y, z; NaN along axes that a variable does not have."""
    start: int = 0
    """The place of the first one along ``state``."""
