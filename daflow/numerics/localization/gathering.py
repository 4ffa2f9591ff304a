"""Points gathered from an ensemble's rows for a localized update, and what comes of them put back.

Both ways give the same bits; the compiled one touches each number once where numpy needs a pass for each
operation, and takes about half the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from daflow.numerics.localization.cells import FloatArray, IntArray

Slab = NDArray[np.float32] | NDArray[np.float64]

WORTH_COMPILING: Final = 4 << 20
"""Numbers in a slice from which on the compiled way is worth the import of numba, half a second."""


class Gathering(Protocol):
    """Gathers points of one slice, batch by batch, in memory that it uses again."""

    def departures(self, points: IntArray) -> FloatArray:
        """Return each member's departure from the first one (n_members, points), until the next call."""
        ...

    def add(self, points: IntArray, block: FloatArray) -> None:
        """Add increments (n_members, points) to the points that were gathered last, in the slice."""
        ...


class PlainGathering:
    """Gathers by numpy.

    Parameters
    ----------
    slab
        (n_members, n) float64 or float32. Rows may lie apart.
    most
        How many points are gathered at once, at most.
    """

    def __init__(self, slab: Slab, most: int) -> None:
        self._slab, self._rows = slab, _as_whole_rows(slab)
        # Memory that is new to the process costs more than what is done with it: two buffers serve all.
        self._gathered, self._block = np.empty(most * len(slab), slab.dtype), np.empty(most * len(slab))

    def departures(self, points: IntArray) -> FloatArray:
        """Return each member's departure from the first one (n_members, points)."""
        prior, block = self._prior(points), _shaped(self._block, self._slab, points)
        self._rows.take(points, axis=1, out=prior, mode="clip")
        np.subtract(prior, prior[0], out=block, dtype=np.float64)
        return block

    def add(self, points: IntArray, block: FloatArray) -> None:
        """Add increments (n_members, points) to the points that were gathered last, in the slice."""
        prior = self._prior(points)
        np.add(prior, block, out=prior, dtype=np.float64, casting="same_kind")
        for row, values in zip(self._slab, prior, strict=True):
            row[points] = values

    def _prior(self, points: IntArray) -> NDArray[Any]:
        return _shaped(self._gathered, self._slab, points)


class CompiledGathering:
    """Gathers by compiled loops; parameters and results are those of `PlainGathering`."""

    def __init__(self, slab: Slab, most: int) -> None:
        self._slab, self._block = slab, np.empty(most * len(slab))
        self._loops = import_module("daflow.numerics.localization.compiled_gathering")

    def departures(self, points: IntArray) -> FloatArray:
        """Return each member's departure from the first one (n_members, points)."""
        block = _shaped(self._block, self._slab, points)
        self._loops.gather_departures(self._slab, points, block)
        return block

    def add(self, points: IntArray, block: FloatArray) -> None:
        """Add increments (n_members, points) to the points that were gathered last, in the slice."""
        self._loops.add_increments(self._slab, points, block)


def fastest_gathering(n_numbers: int) -> Callable[[Slab, int], Gathering]:
    """Return how a slice of so many numbers is gathered fastest, what has to be imported for it included."""
    if sys.modules.get("numba") or (n_numbers >= WORTH_COMPILING and find_spec("numba") is not None):
        return CompiledGathering
    return PlainGathering


def _shaped(buffer: NDArray[Any], slab: Slab, points: IntArray) -> NDArray[Any]:
    return buffer[: len(slab) * len(points)].reshape(len(slab), len(points))


def _as_whole_rows(slab: Slab) -> NDArray[Any]:
    """Return a slab whose rows lie apart with what is between them: numpy gathers from that in one go.

    What is between the rows is never read.
    """
    row, item = slab.strides
    if slab.flags.c_contiguous or item != slab.itemsize or row % item or row < item * slab.shape[1]:
        return slab
    return as_strided(slab, (len(slab), row // item), slab.strides, writeable=False)
