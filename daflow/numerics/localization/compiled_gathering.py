"""Loops of `daflow.numerics.localization.gathering`, compiled: imported when that is worth it."""

from __future__ import annotations

from daflow.numerics.arrays.compiling import compiled
from daflow.numerics.localization.cells import FloatArray, IntArray


@compiled
def gather_departures(slab: FloatArray, points: IntArray, block: FloatArray) -> None:
    """Fill a block with each member's departure from the first one, at some points of a slice."""
    for j in range(points.shape[0]):
        block[0, j] = slab[0, points[j]]
    for row in range(slab.shape[0] - 1, -1, -1):  # the first row, which all need, becomes zero last
        for j in range(points.shape[0]):
            block[row, j] = slab[row, points[j]] - block[0, j]


@compiled
def add_increments(slab: FloatArray, points: IntArray, block: FloatArray) -> None:
    """Add a block to a slice, at some points."""
    for row in range(slab.shape[0]):
        for j in range(points.shape[0]):
            slab[row, points[j]] += block[row, j]
