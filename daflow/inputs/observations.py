"""Observations read from a table in a file, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.observations import (
    BlockError,
    ColumnNames,
    DenseError,
    DiagonalError,
    FileObservations,
)
from daflow.config.section import nearest
from daflow.errors import DataError
from daflow.inputs.arrays import REAL_KINDS
from daflow.inputs.boxes import thin
from daflow.inputs.locations import located
from daflow.inputs.obs_error import ErrorArrays, covariance_of, read_error
from daflow.inputs.reconditioned import cure_of, reconditioned, variances_of
from daflow.inputs.tables import Columns, read_columns
from daflow.ports import FloatArray, Observations, ObservationTable

__all__ = ["covariance_of", "describe", "read_observations"]

DEFAULT_KIND: Final = "observation"
"""The kind of every observation in a table without the column ``kind``."""
PLACES: Final = ("time", "x", "y", "z")
AGREEMENT: Final = 1e-3
"""How far, relatively, a column ``error_std`` may be from the covariance: it is written with few digits."""
NAME_OF_DIGITS: Final = re.compile(r"[+-]?0\d")
"""007 is a name: as a number it would be another text."""
MAX_NAMED: Final = 5
"""How many bad observations an error names."""

Column = NDArray[Any]


def read_observations(settings: FileObservations) -> Observations:
    """Return the observations of a file, with the covariance of their errors.

    The table has the columns ``value``, ``error_std``, ``name``, ``kind``, ``time``, ``x``, ``y``, ``z`` and
    all others of the file under their own names: numbers where every cell is one, text otherwise. Where the
    file has no ``kind`` it is "observation"; where it has no ``name`` it is made of what tells the
    observations apart (``WOPR:PROD1:60``); where it has no time or place that is NaN. Beside a covariance,
    ``error_std`` is the square root of its diagonal, and a column of that name must agree with it.

    Laws: the order of the columns does not matter; a table gives the same in every format; made names are
    unique.

    Raises
    ------
    daflow.errors.DataError
        The file cannot be read; a column that is asked for is missing, or has text for a number; a value is
        not finite; a standard deviation is not above 0; a covariance does not fit, is not positive definite,
        or contradicts the column ``error_std``; boxes count along an axis along which one has no place.
    daflow.errors.CombinationError
        A covariance cannot be reconditioned as asked.
    """
    path = settings.path
    given = _renamed(path, read_columns(path), settings.columns)
    diagonal = isinstance(settings.error, DiagonalError)
    for name in ("value", "error_std") if diagonal else ("value",):
        _require(path, given, name, getattr(settings.columns, name))
    table = _table(path, given)
    _check(path, table)
    if settings.locations is not None:
        table = located(table, settings.locations)
    error = read_error(settings.error, len(table["value"]))
    if not diagonal:
        return _with_covariance(settings, table, error)
    return thin(settings, Observations(table, error))


def describe(table: ObservationTable, row: int) -> str:
    """Return how messages call an observation: ``observation 17 (WOPR PROD1 at 60)``, counted from 0."""
    words = [str(table[column][row]) for column in ("kind", "name") if column in table]
    if len(words) == 2 and words[1].startswith(f"{words[0]}:"):
        # A made name says it all.
        return f"observation {row} ({words[1]})"
    time = table.get("time")
    if time is not None and np.isfinite(time[row]):
        words.append(f"at {time[row]:g}")
    return f"observation {row}" + (f" ({' '.join(words)})" if words else "")


def _renamed(path: Path, columns: Columns, names: ColumnNames) -> dict[str, Column]:
    """Return the columns by daflow's names where they have one, and by the file's where not."""
    ours: dict[str, str] = names.model_dump()
    for own, theirs in ours.items():
        if theirs not in columns and theirs != own:
            raise _no_column(path, columns, own, theirs)
        if theirs != own and own in columns and own not in ours.values():
            raise DataError(
                f"{path}: the columns {theirs!r} and {own!r} would both be called {own!r}",
                got=f"columns.{own}: {theirs}",
                do=f"drop or rename the column {own!r} of the file, or leave 'columns.{own}' out",
            )
    back = {theirs: own for own, theirs in ours.items()}
    return {back.get(name, name): values for name, values in columns.items()}


def _require(path: Path, given: Mapping[str, Column], own: str, theirs: str) -> None:
    if own not in given:
        raise _no_column(path, given, own, theirs)


def _no_column(path: Path, there: Mapping[str, Column], own: str, theirs: str) -> DataError:
    near = nearest(theirs, there)
    meant = "" if near is None else f"did you mean {near!r}? "
    return DataError(
        f"{path}: there is no column {theirs!r}",
        got=", ".join(there),
        do=f"{meant}add it, or say what it is called in observations.columns.{own}",
    )


def _table(path: Path, given: Mapping[str, Column]) -> dict[str, Column]:
    n_obs = len(given["value"])
    table: dict[str, Column] = {
        "kind": given["kind"].astype(str) if "kind" in given else np.full(n_obs, DEFAULT_KIND)
    }
    if "name" in given:
        table["name"] = given["name"].astype(str)
    for column in (*PLACES, "value", "error_std"):
        if column in given:
            # So far the table tells the observations apart for the messages.
            table[column] = _numbers(path, column, given[column], table)
        elif column in PLACES:
            table[column] = np.full(n_obs, np.nan)
    others = {name: _as_they_are(values) for name, values in given.items() if name not in table}
    if "name" not in table:
        table["name"] = _made_names(table, others)
    first = ("name", "kind", *PLACES, "value", "error_std")
    return {name: table[name] for name in first if name in table} | others


def _numbers(path: Path, column: str, values: Column, table: ObservationTable) -> FloatArray:
    """Return a column as float64; an empty cell is NaN."""
    if values.dtype.kind in REAL_KINDS:
        return values.astype(np.float64)
    if values.dtype.kind != "U":
        raise DataError(f"{path}, column {column!r}: not numbers", got=f"dtype {values.dtype}")
    try:
        return np.where(values == "", "nan", values).astype(np.float64)
    except ValueError as problem:
        row = next((i for i, cell in enumerate(values) if not _is_number(cell)), 0)
        raise DataError(
            f"{path}, column {column!r}: {describe(table, row)} is not a number",
            got=repr(str(values[row])),
            allowed="a number",
            do="correct it, or name another column in observations.columns",
        ) from problem


def _is_number(cell: object) -> bool:
    try:
        float(str(cell) or "nan")
    except ValueError:
        return False
    return True


def _as_they_are(values: Column) -> Column:
    """Return text as whole numbers, or as numbers, where all of it is; other columns as they are."""
    if values.dtype.kind != "U" or any(NAME_OF_DIGITS.match(cell) for cell in values.tolist()):
        return values
    for kind in (np.int64, np.float64):
        try:
            return values.astype(kind)
        except (ValueError, OverflowError):
            continue
    return values


def _made_names(table: ObservationTable, others: Mapping[str, Column]) -> Column:
    """Join what tells observations apart: the kind, then each column that tells more of them apart."""
    texts = [values for _, values in sorted(others.items()) if values.dtype.kind == "U"]
    places = [np.array([f"{number:.12g}" for number in table[name]]) for name in PLACES]
    names = table["kind"]
    n_apart = len(np.unique(names))
    for column in (*texts, *places):
        joined = _joined(names, column)
        if (n_joined := len(np.unique(joined))) > n_apart:
            names, n_apart = joined, n_joined
    return names if n_apart == len(names) else _joined(names, np.arange(len(names)).astype(str))


def _joined(first: Column, second: Column) -> Column:
    return np.char.add(np.char.add(first, ":"), second)


def _check(path: Path, table: ObservationTable) -> None:
    _refuse(path, table, "value", _not_finite, "a finite number; leave out what was not observed")
    for place in PLACES:
        _refuse(path, table, place, _infinite, "a finite number, or nothing")
    if "error_std" in table:
        _refuse(path, table, "error_std", _not_finite, "a finite number above 0")
        _refuse(path, table, "error_std", _not_positive, "a finite number above 0")


def _refuse(
    path: Path, table: ObservationTable, column: str, wrong: Callable[[FloatArray], Column], allowed: str
) -> None:
    bad = np.flatnonzero(wrong(table[column]))
    if bad.size:
        raise DataError(
            f"{path}, column {column!r}: {describe(table, int(bad[0]))} is {_shown(table[column][bad[0]])}",
            got=f"{bad.size} of {len(table[column])}: " + "; ".join(_first_ones(table, column, bad)),
            allowed=allowed,
            do="correct these rows, or drop them",
        )


def _first_ones(table: ObservationTable, column: str, rows: Column) -> Iterator[str]:
    for row in rows[:MAX_NAMED].tolist():
        yield f"{describe(table, row)}: {_shown(table[column][row])}"
    if len(rows) > MAX_NAMED:
        yield "..."


def _shown(number: float) -> str:
    return "NaN" if np.isnan(number) else f"{number:g}"


def _not_finite(values: FloatArray) -> Column:
    return ~np.isfinite(values)


def _infinite(values: FloatArray) -> Column:
    return np.isinf(values)


def _not_positive(values: FloatArray) -> Column:
    return values <= 0


def _with_covariance(
    settings: FileObservations, table: dict[str, Column], error: ErrorArrays
) -> Observations:
    """Return observations with the covariance of their errors, reconditioned if asked; told of if so."""
    asked = settings.error
    notes: tuple[str, ...] = ()
    if isinstance(asked, DenseError | BlockError) and asked.recondition is not None:
        # The column was written for the covariance as it is in the file.
        _compare(settings, table, np.sqrt(np.maximum(variances_of(error), 0.0)))
        error, note = reconditioned(asked, error)
        notes = (note,)
    std = _std_of(settings, Observations(table, error))
    if not notes:
        _compare(settings, table, std)
    return thin(settings, Observations(table | {"error_std": std}, error, notes=notes))


def _std_of(settings: FileObservations, observations: Observations) -> FloatArray:
    """Return the square roots of R's diagonal."""
    file = getattr(settings.error, "file", settings.path)
    try:
        return np.sqrt(covariance_of(observations).diagonal())
    except DataError as error:
        do = cure_of(error, observations.error)
        raise DataError(f"{file}: {error.what}", got=error.got, allowed=error.allowed, do=do) from error


def _compare(settings: FileObservations, table: ObservationTable, std: FloatArray) -> None:
    """See that a column of standard deviations does not contradict R."""
    if "error_std" not in table:
        return
    apart = np.flatnonzero(np.abs(table["error_std"] - std) > AGREEMENT * std)
    if apart.size:
        file, row = getattr(settings.error, "file", settings.path), int(apart[0])
        raise DataError(
            f"{settings.path}, column 'error_std': {describe(table, row)} disagrees with {file}",
            got=f"{table['error_std'][row]:g}, and {apart.size - 1} others",
            allowed=f"{std[row]:g}, the square root of the covariance's diagonal, to {AGREEMENT:g}",
            do="drop the column, or correct the covariance",
        )
