"""States of a long run or a record, as many numbers of them at a time as are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.inputs.arrays import StoredArray, open_array
from daflow.ports import FloatArray
from daflow.records import Variable

KEPT_BYTES: Final = 256 << 20
"""Snapshots of a variable up to this size are read once a process; larger ones row by row, each time."""


@dataclass(frozen=True, eq=False)
class StateSnapshots:
    """Snapshots of a state: for each variable an array in a file, one snapshot along its first axis.

    Law: parts along the state, put together, are the whole.
    """

    variables: tuple[Variable, ...]
    arrays: tuple[StoredArray, ...]
    """One a variable, in their order along the state."""

    @property
    def n_snapshots(self) -> int:
        """How many snapshots there are."""
        return self.arrays[0].shape[0]

    @property
    def n_state(self) -> int:
        """How many numbers each has."""
        return self.variables[-1].stop

    def columns(self, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` along the state (n_snapshots, stop - start).

        Raises
        ------
        daflow.errors.DataError
            A file cannot be read, or a number is not finite.
        """
        found = np.empty((self.n_snapshots, stop - start))
        for variable, array in zip(self.variables, self.arrays, strict=True):
            low, high = max(start, variable.start), min(stop, variable.stop)
            if low < high:
                part = _part(array, low - variable.start, high - variable.start)
                if not np.isfinite(part).all():
                    row = int(np.argwhere(~np.isfinite(part))[0, 0])
                    raise DataError(
                        f"{array.label}: a snapshot has numbers that are not finite",
                        got=f"snapshot {row}",
                        allowed="finite numbers",
                        do="leave that snapshot out",
                    )
                found[:, low - start : high - start] = part
        return found


def open_snapshots(variables: tuple[Variable, ...], file: Path, array: str | None) -> StateSnapshots:
    """Open the snapshots of a state; nothing is read yet.

    Parameters
    ----------
    variables
        Of the state, in their order.
    file
        .npy, .npz, netCDF or zarr.
    array
        The array's name, for a state of one variable; ``None``: the variables' names.

    Raises
    ------
    daflow.errors.DataError
        There is no such array, its rows do not have the variable's shape, or they are fewer than two or of
        different numbers.
    """
    arrays = tuple(open_array(file, array, variable.name) for variable in variables)
    for variable, found in zip(variables, arrays, strict=True):
        if found.shape[1:] not in {variable.shape, (variable.size,)} or found.shape[0] < 2:
            raise DataError(
                f"{found.label}: no snapshots of variable {variable.name!r}",
                got=f"shape {found.shape}",
                allowed=f"(n_snapshots, {', '.join(map(str, variable.shape))}), two snapshots or more",
                do="save one snapshot along the first axis, in the variable's shape",
            )
    if len({found.shape[0] for found in arrays}) > 1:
        got = ", ".join(f"{found.label}: {found.shape[0]}" for found in arrays)
        raise DataError(
            "variables have different numbers of snapshots",
            got=got,
            allowed="the same number of each: a snapshot is a state",
        )
    return StateSnapshots(variables, arrays)


def _part(array: StoredArray, start: int, stop: int) -> NDArray[Any]:
    n = array.shape[0]
    if np.prod(array.shape) * array.dtype.itemsize <= KEPT_BYTES:
        return _whole(array.file, array.name).reshape(n, -1)[:, start:stop]
    return np.stack([array.row(row).ravel()[start:stop] for row in range(n)])


@lru_cache(maxsize=4)
def _whole(file: Path, name: str | None) -> NDArray[Any]:
    return open_array(file, name).whole()
