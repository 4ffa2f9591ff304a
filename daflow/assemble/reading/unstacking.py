"""Arrays as a run keeps them, made what a user knows: in the variables' shapes, in tasks of a good size."""

from __future__ import annotations

from math import prod
from typing import Any, Final

import numpy as np
import xarray as xr

from daflow.names import MEMBER, STATE
from daflow.records import Variable

READ_BYTES: Final = 2**22
"""Chunks smaller than this are read several members a task, as many as make it up: tasks cost, too."""


def in_tasks(array: xr.DataArray) -> xr.DataArray:
    """Return a stored array as tasks of whole chunks, of as many members as are small together."""
    chunks = dict(array.encoding["preferred_chunks"])
    if MEMBER in chunks:
        size = prod(chunks.values()) * array.dtype.itemsize
        chunks[MEMBER] *= max(1, READ_BYTES // size)
    return array.chunk(chunks)


def unstack(stacked: xr.DataArray, variable: Variable) -> xr.DataArray:
    """Return one variable in its own shape, lazily, with the coordinates of its grid."""
    flat = stacked.isel({STATE: slice(variable.start, variable.stop)})
    data = flat.data.reshape((flat.sizes[MEMBER], *variable.shape))
    coords: dict[str, Any] = {MEMBER: stacked[MEMBER].values}
    if variable.grid is not None:
        grid = variable.grid
        for dim, n, axis, spacing, origin in zip(
            grid.dims, grid.shape, grid.axes, grid.spacing, grid.origin, strict=True
        ):
            coords[axis] = (dim, origin + spacing * np.arange(n))
    return xr.DataArray(data, dims=(MEMBER, *variable.dims), coords=coords, name=variable.name)
