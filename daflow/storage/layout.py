"""What the zarr groups of a run hold: names, shapes, chunks, dimension names.

::

    step=K/       parameters (member, state)   predicted (member, obs)   member (member)
    truth/        the same with one row, in a twin experiment
    state/        variable, x, y, z (state): where each number of the state lies
    observations/ value, error_std and the table's columns (obs)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from daflow.names import MEMBER, OBS, PARAMETERS, PREDICTED, STATE
from daflow.ports import SlicePoints
from daflow.records import Layout, StateSlice
from daflow.storage.checksums import Checksum
from daflow.storage.files import sync_file, sync_folder
from daflow.storage.zarr_rows import EVERY_CHUNK

STATE_GROUP = "state"
AXES = ("x", "y", "z")
LARGEST_OBS_CHUNK = 2**19
"""4 MiB of float64."""
PLAIN: Final[Mapping[str, Any]] = {"compressors": None, "shards": None}
"""A file of bare numbers a chunk."""


def obs_chunk(layout: Layout) -> int:
    """Return how many observations a chunk of ``predicted`` holds."""
    return max(1, min(layout.n_obs, LARGEST_OBS_CHUNK))


def create_group(
    root: Path, name: str, layout: Layout, n_rows: int, packed: Mapping[str, Any] = PLAIN
) -> None:
    """Make the arrays of one step, empty (NaN); arrays that are there already stay as they are.

    ``packed`` says what becomes of the chunks of the parameters: ``compressors`` and ``shards``, for zarr.
    """
    group = zarr.open_group(root, mode="a", zarr_format=3).require_group(name)
    if PREDICTED in group:  # made last: the others are there as well
        return
    group.attrs["variables"] = [
        {"name": v.name, "dims": list(v.dims), "shape": list(v.shape), "start": v.start, "stop": v.stop}
        for v in layout.variables
    ]
    members = _array(group, MEMBER, (n_rows,), (n_rows,), dtype="int64", dims=(MEMBER,), fill=-1)
    members[:] = np.arange(n_rows)
    shape = (n_rows, layout.n_state)
    dims = (MEMBER, STATE)
    _array(group, PARAMETERS, shape, (1, layout.slice_size), dtype=layout.dtype, dims=dims, packed=packed)
    _array(
        group, PREDICTED, (n_rows, layout.n_obs), (1, obs_chunk(layout)), dtype="float64", dims=(MEMBER, OBS)
    )
    for folder in (
        root / name / PARAMETERS,
        root / name / PREDICTED,
        root / name / MEMBER,
        root / name,
        root,
    ):
        sync_folder(folder)


def create_coordinates(root: Path, layout: Layout) -> None:
    """Make the arrays that say where the state lies, one row of chunks each."""
    group = zarr.open_group(root, mode="a", zarr_format=3).require_group(STATE_GROUP)
    names = [variable.name for variable in layout.variables]
    for name in ("variable", *axes_in_use(layout)):
        if name in group:
            continue
        dtype = "int64" if name == "variable" else "float64"
        fill = -1 if name == "variable" else np.nan
        array = _array(
            group, name, (layout.n_state,), (layout.slice_size,), dtype=dtype, dims=(STATE,), fill=fill
        )
        if name == "variable":
            array.attrs.update({"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)})
    sync_folder(root / STATE_GROUP)


def axes_in_use(layout: Layout) -> tuple[str, ...]:
    """Return the axes of space that at least one variable has."""
    used = {axis for variable in layout.variables if variable.grid for axis in variable.grid.axes}
    return tuple(axis for axis in AXES if axis in used)


def write_coordinates(root: Path, layout: Layout, where: StateSlice, points: SlicePoints) -> str:
    """Write one chunk of each coordinate; return their digest."""
    columns: dict[str, Any] = {"variable": points.variable}
    columns |= {axis: points.coordinates[:, AXES.index(axis)] for axis in axes_in_use(layout)}
    mark = Checksum()
    for name, values in columns.items():
        folder = root / STATE_GROUP / name
        array = zarr.open_array(folder, mode="r+", zarr_format=3).with_config(EVERY_CHUNK)
        array[where.start : where.stop] = values
        sync_file(folder / "c" / str(where.index))
        sync_folder(folder / "c")
        mark.over(np.ascontiguousarray(values))
    return mark.digest


def _array(  # noqa: PLR0913 - the fields of an array's metadata
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    *,
    dtype: str,
    dims: tuple[str, ...],
    fill: float = np.nan,
    packed: Mapping[str, Any] = PLAIN,
) -> zarr.Array[Any]:
    """Make an array of bare little-endian numbers: the mantissas of a model's floats do not compress."""
    return group.create_array(
        name,
        shape=shape,
        chunks=tuple(max(1, n) for n in chunks),
        dtype=dtype,
        fill_value=fill,
        filters=None,
        dimension_names=dims,
        config=EVERY_CHUNK,
        overwrite=True,
        **packed,
    )
