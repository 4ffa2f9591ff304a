"""Tables in the user's files: columns of equal length, from .csv, netCDF-4 and zarr."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.inputs.arrays import check_file, open_labelled, unreadable
from daflow.names import OBS

Columns = Mapping[str, NDArray[Any]]
"""Column name -> (n_rows,); text as numpy's unicode, a .csv file's columns all of them."""


def read_columns(path: Path) -> Columns:
    """Return the columns of a table; the suffix (.csv, .nc, .nc4, .zarr) says what the file is.

    Of netCDF and zarr these are the variables and coordinates whose one dimension is ``obs``; times stay
    the numbers that the file holds.

    Raises
    ------
    daflow.errors.DataError
        The file is missing, unreadable or of an unknown kind; a line has too many or too few cells; a
        column has no name or stands twice; there are no rows.
    """
    check_file(path, list(_READERS))
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise DataError(
            f"{path}: tables are not read from such a file",
            got=f"suffix {suffix!r}" if suffix else "no suffix",
            allowed=", ".join(_READERS),
            do="save the table in one of these formats",
        )
    columns = _READERS[suffix](path)
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path}: the table is empty", got="no rows", do="give one row an observation")
    return columns


def _csv(path: Path) -> Columns:
    lines = _lines(path)
    if not lines:
        return {}
    header = [cell.strip() for cell in lines[0][1]]
    _check_header(path, header)
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {number}: not one cell a column",
                got=f"{len(cells)} cells",
                allowed=f"{len(header)}: {', '.join(header)}",
                do="was the file cut short? put text with commas in double quotes; the names of the columns "
                "stand in the first line, without comments before it",
            )
    rows = [[cell.strip() for cell in cells] for _, cells in lines[1:]]
    return {name: np.array([row[i] for row in rows], dtype=str) for i, name in enumerate(header)}


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that are not blank, each with its number (from 1) and its cells."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise unreadable(path, problem) from problem


def _check_header(path: Path, header: Sequence[str]) -> None:
    if len(header) == 1 and any(other in header[0] for other in ";\t"):
        raise DataError(
            f"{path}: its columns are not separated by commas",
            got=header[0],
            allowed="commas between columns, points in numbers: value,error_std",
            do="save it so: a spreadsheet set to English does",
        )
    if "" in header:
        raise DataError(
            f"{path}: column {header.index('') + 1} has no name",
            got=", ".join(map(repr, header)),
            do="name the column in the first line, or drop it",
        )
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise DataError(
            f"{path}: column {twice[0]!r} stands twice",
            got=", ".join(header),
            do="drop or rename one of them",
        )


def _labelled(path: Path) -> Columns:
    with open_labelled(path) as dataset:
        if OBS not in dataset.sizes:
            there = ", ".join(f"{name} ({size})" for name, size in dataset.sizes.items())
            raise DataError(
                f"{path}: there is no dimension {OBS!r}",
                got=there or "no dimensions",
                allowed=f"a table along {OBS!r}",
                do=f"rename the dimension of the observations to {OBS!r}",
            )
        try:
            loaded = {
                str(name): np.asarray(variable.values)
                for name, variable in dataset.variables.items()
                if variable.dims == (OBS,)
            }
        except (OSError, ValueError, RuntimeError) as problem:
            raise unreadable(path, problem) from problem
    # A dimension may have its own numbers as a coordinate: they number the rows, they do not describe them.
    return {name: _plain(values) for name, values in loaded.items() if name != OBS}


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "SOT":
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist()]
        return np.array(texts, dtype=str)
    return values


_READERS: Final[Mapping[str, Callable[[Path], Columns]]] = {
    ".csv": _csv,
    ".nc": _labelled,
    ".nc4": _labelled,
    ".zarr": _labelled,
}
