"""Realizations and truths in the user's arrays, checked before a member has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from daflow.config.observations import ArrayTruth
from daflow.config.parameters import LogitTransform, LogTransform, ParameterSettings, TriangularTransform
from daflow.config.priors import ArrayPrior
from daflow.errors import DataError
from daflow.inputs.arrays import StoredArray, open_array
from daflow.names import TRUTH
from daflow.ports import FloatArray
from daflow.records import Variable


@dataclass(frozen=True, slots=True)
class Realizations:
    """Realizations of a variable in an array, one along its first axis."""

    variable: Variable
    array: StoredArray
    rows: tuple[int, ...]
    """The row of each member."""
    truth: int | None
    """The row of the truth, if one is."""
    settings: ParameterSettings
    logarithm: bool
    """The variable is the natural logarithm of what the file holds."""

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield the member's row.

        Raises
        ------
        daflow.errors.DataError
            It cannot be read, is not finite, or lies outside what the scale or transform can take.
        """
        row = self.truth if member == TRUTH else self.rows[member]
        if row is None:
            raise DataError(
                f"parameters.{self.variable.name}.prior: no row is the truth",
                do=f"set 'truth' to a row of {self.array.label} that is no member's",
            )
        whose = "the truth" if member == TRUTH else f"member {member}"
        where = f"{self.array.label}, row {row} ({whose}, variable {self.variable.name!r})"
        values = self.array.row(row).astype(np.float64).reshape(self.variable.shape)
        if self.logarithm:
            _refuse(where, values, ~(values > 0), "above 0: its logarithm is taken")
            values = np.log(values)
        yield checked(where, values, self.settings).ravel()


@dataclass(frozen=True, slots=True)
class TrueArray:
    """The truth's values, in an array of the variable's shape."""

    variable: Variable
    array: StoredArray
    settings: ParameterSettings

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield the array, whoever asks.

        Raises
        ------
        daflow.errors.DataError
            It cannot be read, is not finite, or lies outside what the transform can take.
        """
        del member
        where = f"{self.array.label} (the truth, variable {self.variable.name!r})"
        values = self.array.whole().astype(np.float64).reshape(self.variable.shape)
        yield checked(where, values, self.settings).ravel()


def open_realizations(
    variable: Variable, settings: ParameterSettings, prior: ArrayPrior, n_members: int
) -> Realizations:
    """Open the array of a prior; nothing is read yet.

    Raises
    ------
    daflow.errors.DataError
        There is no such array, its rows do not have the variable's shape, or they are too few.
    """
    array = open_array(prior.file, prior.array, variable.name)
    check_shape(array, array.shape[1:] if array.shape else None, variable, "(n_rows, ...) with ")
    rows = prior.rows(n_members)
    if len(rows) < n_members:
        raise DataError("not one row a member", got=f"{len(rows)} rows", allowed=f"{n_members} members")
    needed = max(*rows, -1 if prior.truth is None else prior.truth)
    if needed >= array.shape[0]:
        raise DataError(
            f"{array.label}: too few rows",
            got=f"{array.shape[0]} rows, numbered from 0",
            allowed=f"at least {needed + 1}: members or the truth ask for row {needed}",
            do="make the ensemble smaller, choose other rows, or add realizations to the file",
        )
    return Realizations(variable, array, rows, prior.truth, settings, prior.scale == "log")


def open_truth(variable: Variable, settings: ParameterSettings, truth: ArrayTruth) -> TrueArray:
    """Open the array with the truth of a variable; nothing is read yet.

    Raises
    ------
    daflow.errors.DataError
        There is no such array, or it does not have the variable's shape.
    """
    array = open_array(truth.file, truth.arrays.get(variable.name), variable.name)
    check_shape(array, array.shape, variable, "")
    return TrueArray(variable, array, settings)


def check_shape(array: StoredArray, shape: tuple[int, ...] | None, variable: Variable, rows: str) -> None:
    """Refuse a shape that is neither the variable's nor all its numbers in one line."""
    if shape in {variable.shape, (variable.size,)}:
        return
    transposed = "" if shape is None or prod(shape) != variable.size else "; transpose the array"
    named = ", ".join(variable.dims) or "one number"
    raise DataError(
        f"{array.label}: does not have the shape of variable {variable.name!r}",
        got=f"{array.shape}",
        allowed=f"{rows}{variable.shape}: {named}; or {rows}({variable.size},), the last dimension fastest",
        do=f"correct the shape of the variable or of its grid{transposed}",
    )


def checked(where: str, values: FloatArray, settings: ParameterSettings) -> FloatArray:
    """Return the values if they are finite and inside what the variable's transform can take."""
    _refuse(where, values, ~np.isfinite(values), "finite numbers")
    match settings.transform:
        case LogTransform():
            _refuse(where, values, values <= 0, "above 0: the variable is updated as its logarithm")
        case LogitTransform(lower=lower, upper=upper) | TriangularTransform(lower=lower, upper=upper):
            bad = (values <= lower) | (values >= upper)
            _refuse(where, values, bad, f"between {lower:g} and {upper:g}, the bounds of its transform")
        case _:
            pass
    return values


def _refuse(where: str, values: FloatArray, bad: np.ndarray[Any, np.dtype[np.bool_]], allowed: str) -> None:
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{where}: {int(bad.sum())} of {values.size} values cannot be used",
            got=f"{values[first]:g} at {list(first)}",
            allowed=allowed,
            do="repair the array; a member can also be left out, by ensemble.exclude",
        )
