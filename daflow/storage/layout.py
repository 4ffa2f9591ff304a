"""What the zarr groups of a run hold: names, shapes, chunks, dimension names.

::

    step=K/       parameters (member, state)   predicted (member, obs)   member (member)
                  forecast (member, state), in a filter: where the step's forecast ends
                  smoothed (member, state), in a filter with a lag: the parameters, smoothed
    truth/        the same with one row, in a twin experiment; forecast (step, state)
    state/        variable, x, y, z (state): where each number of the state lies
    observations/ value, error_std and the table's columns (obs)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import zarr

from daflow.names import FORECAST, MEMBER, OBS, PARAMETERS, PREDICTED, SMOOTHED, STATE, TRUTH
from daflow.ports import SlicePoints
from daflow.records import Layout, StateSlice
from daflow.storage.checksums import Checksum
from daflow.storage.medium import Medium
from daflow.storage.zarr_rows import EVERY_CHUNK, packing

STATE_GROUP = "state"
STEP = "step"
AXES = ("x", "y", "z")
LARGEST_OBS_CHUNK = 2**19
"""4 MiB of float64."""
PLAIN: Final[Mapping[str, Any]] = {"compressors": None, "shards": None}
"""A file of bare numbers a chunk."""


class States(NamedTuple):
    """How an array of states is made."""

    n_rows: int
    dims: tuple[str, str] = (MEMBER, STATE)
    packed: Mapping[str, Any] = PLAIN
    """What becomes of the chunks: ``compressors`` and ``shards``, for zarr."""


def n_obs_of(layout: Layout, step: int, member: int) -> int:
    """Return how many observations a member predicts at a step; the truth predicts those of all steps."""
    return layout.n_obs if member == TRUTH else len(layout.obs_of(step))


def obs_chunk(n_obs: int) -> int:
    """Return how many of so many observations a chunk of ``predicted`` holds."""
    return max(1, min(n_obs, LARGEST_OBS_CHUNK))


def create_step(medium: Medium, name: str, layout: Layout, step: int) -> None:
    """Make the arrays of one step, empty (NaN); arrays that are there already stay as they are."""
    states = {PARAMETERS: States(layout.n_members, packed=packing(layout, step))}
    if layout.forecasts_at(step):
        # Written by members, as a prior is.
        states[FORECAST] = States(layout.n_members, packed=packing(layout, 0))
    if layout.smoothed_by(step):
        # Written by slices, even at the first step.
        states[SMOOTHED] = States(layout.n_members, packed=packing(layout, step + 1))
    _create_group(medium, name, layout, states, n_obs_of(layout, step, 0))


def create_truth(medium: Medium, name: str, layout: Layout) -> None:
    """Make the arrays of the truth of a twin experiment."""
    states = {PARAMETERS: States(1)}
    if layout.cycles:
        states[FORECAST] = States(len(layout.cycles), (STEP, STATE))
    _create_group(medium, name, layout, states, layout.n_obs)


def _create_group(
    medium: Medium, name: str, layout: Layout, states: Mapping[str, States], n_obs: int
) -> None:
    group = zarr.open_group(medium.root, mode="a", zarr_format=3).require_group(name)
    if PREDICTED in group:  # made last: the others are there as well
        return
    group.attrs["variables"] = [
        {"name": v.name, "dims": list(v.dims), "shape": list(v.shape), "start": v.start, "stop": v.stop}
        for v in layout.variables
    ]
    n_rows = states[PARAMETERS].n_rows
    members = _array(group, MEMBER, (n_rows,), (n_rows,), dtype="int64", dims=(MEMBER,), fill=-1)
    members[:] = np.arange(n_rows)
    for array, made in states.items():
        shape, chunks = (made.n_rows, layout.n_state), (1, layout.slice_size)
        _array(group, array, shape, chunks, dtype=layout.dtype, dims=made.dims, packed=made.packed)
    _array(group, PREDICTED, (n_rows, n_obs), (1, obs_chunk(n_obs)), dtype="float64", dims=(MEMBER, OBS))
    medium.settle([*(f"{name}/{array}" for array in (*states, PREDICTED, MEMBER)), name, ""])


def create_coordinates(medium: Medium, layout: Layout) -> None:
    """Make the arrays that say where the state lies, one row of chunks each."""
    group = zarr.open_group(medium.root, mode="a", zarr_format=3).require_group(STATE_GROUP)
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
    medium.settle([STATE_GROUP])


def axes_in_use(layout: Layout) -> tuple[str, ...]:
    """Return the axes of space that at least one variable has."""
    used = {axis for variable in layout.variables if variable.grid for axis in variable.grid.axes}
    return tuple(axis for axis in AXES if axis in used)


def write_coordinates(medium: Medium, layout: Layout, where: StateSlice, points: SlicePoints) -> str:
    """Write one chunk of each coordinate; return their digest."""
    columns: dict[str, Any] = {"variable": points.variable}
    columns |= {axis: points.coordinates[:, AXES.index(axis)] for axis in axes_in_use(layout)}
    mark = Checksum()
    for name, values in columns.items():
        path = f"{STATE_GROUP}/{name}"
        array = zarr.open_array(medium.root, path=path, mode="r+", zarr_format=3).with_config(EVERY_CHUNK)
        array[where.start : where.stop] = values
        medium.settle((), [f"{path}/c/{where.index}"])
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
