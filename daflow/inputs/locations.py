"""Where observations lie, from a table of wells or stations: one row a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.inputs.tables import Columns, read_columns
from daflow.ports import ObservationTable

AXES: Final = ("x", "y", "z")
MAX_NAMED: Final = 5


def located(table: ObservationTable, path: Path) -> dict[str, NDArray[Any]]:
    """Return an observation table with the coordinates that a second table has for each ``name``.

    Parameters
    ----------
    table
        With the column ``name``.
    path
        A table with the columns ``name`` and one or more of ``x``, ``y``, ``z``; names without
        observations are fine.

    Raises
    ------
    daflow.errors.DataError
        The table cannot be read, has no coordinates, a name twice or a coordinate that is no number; an
        observation's name is not in it; the observations have coordinates of their own.
    """
    places = read_columns(path)
    axes = [axis for axis in AXES if axis in places]
    if "name" not in places or not axes:
        raise DataError(
            f"{path}: not a table of locations",
            got=", ".join(places),
            allowed="the columns name, and x, y or z",
            do="rename its columns",
        )
    names = np.asarray(places["name"]).astype(str)
    rows = {name: row for row, name in enumerate(names.tolist())}
    if len(rows) < len(names):
        twice = sorted({name for name in rows if np.count_nonzero(names == name) > 1})
        raise DataError(f"{path}: names stand twice", got=", ".join(twice[:MAX_NAMED]), allowed="each once")
    asked = np.asarray(table["name"]).astype(str).tolist()
    if missing := sorted(set(asked) - set(rows)):
        raise DataError(
            f"{path}: observations have names that are not in it",
            got=", ".join(missing[:MAX_NAMED]) + (" ..." if len(missing) > MAX_NAMED else ""),
            allowed=", ".join(sorted(rows)[:MAX_NAMED]) + " ...",
            do="add them, or name the column that matches in observations.columns.name",
        )
    which = [rows[name] for name in asked]
    return dict(table) | {axis: _placed(table, places, axis, which, path) for axis in axes}


def _placed(
    table: ObservationTable, places: Columns, axis: str, which: list[int], path: Path
) -> NDArray[np.float64]:
    if np.isfinite(table[axis]).any():
        raise DataError(
            f"{path}: the observations have coordinates {axis} already",
            do="drop the column from one of the two tables",
        )
    try:
        column = np.asarray(places[axis]).astype(np.float64)
    except ValueError as error:
        raise DataError(
            f"{path}, column {axis!r}: not numbers", got=error, allowed="a number a row"
        ) from error
    if not np.isfinite(column).all():
        raise DataError(f"{path}, column {axis!r}: not finite", allowed="a finite number a row")
    placed: NDArray[np.float64] = column[which]
    return placed
