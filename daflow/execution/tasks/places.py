"""Where the numbers of a slice lie, and what a method makes of it once a run."""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from daflow.errors import StoreError
from daflow.ports import Arrays, FloatArray, SlicePoints, Store
from daflow.records import Grid, Layout, StateSlice

AXES = ("x", "y", "z")
SEAL = "seal"
"""The name under which a checksum is kept beside the arrays of a slice's places."""


def locate(layout: Layout, where: StateSlice) -> SlicePoints:
    """Return where the numbers of a slice lie, from the grids of their variables."""
    variable = np.empty(where.size, dtype=np.int64)
    coordinates = np.full((where.size, 3), np.nan)
    codes = {v.name: code for code, v in enumerate(layout.variables)}
    for segment, start, stop in layout.segments(where):
        variable[start:stop] = codes[segment.name]
        if segment.grid is not None:
            first = where.start + start - segment.start
            cells = np.arange(first, first + stop - start)
            _place(segment.grid, cells, coordinates[start:stop])
    return SlicePoints(variable, coordinates, where.start)


def _place(grid: Grid, cells: NDArray[np.int64], out: FloatArray) -> None:
    along = np.unravel_index(cells, grid.shape)
    for index, axis, spacing, origin in zip(along, grid.axes, grid.spacing, grid.origin, strict=True):
        out[:, AXES.index(axis)] = origin + spacing * index


def places_of(key: str, where: StateSlice) -> str:
    """Return under which name the store keeps the places of a slice.

    The key is that of `daflow.names.Phase.PREPARE` at step 0: it changes whenever the localization does.
    """
    return f"localization/{key}/slice={where.index:05d}"


def read_places(store: Store, name: str) -> Arrays | None:
    """Return the places kept under a name; ``None`` if there are none, or not as they were written.

    What is damaged can be made again: that is cheaper than a run that stops.
    """
    try:
        kept = store.read_arrays(name)
    except StoreError:
        return None
    if kept is None or SEAL not in kept:
        return None
    places = {part: array for part, array in kept.items() if part != SEAL}
    return places if np.array_equal(kept[SEAL], _seal(places)) else None


def write_places(store: Store, name: str, places: Arrays) -> None:
    """Keep places under a name, sealed by a checksum."""
    store.write_arrays(name, {**places, SEAL: np.array(_seal(places))})


def _seal(places: Arrays) -> int:
    seal = 0
    for part in sorted(places):
        array = np.ascontiguousarray(places[part])
        seal = crc32(f"{part} {array.dtype} {places[part].shape}".encode(), seal)
        seal = crc32(array.data, seal) if array.size else seal
    return seal
