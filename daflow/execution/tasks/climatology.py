"""Members from the states of a long run or a record, and from the rows of a design."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from daflow.config.parameters import ParameterSettings
from daflow.config.priors import ClimatologyPrior, DesignPrior
from daflow.errors import DataError
from daflow.execution.tasks.realizations import check_shape, checked
from daflow.inputs.arrays import StoredArray, open_array
from daflow.inputs.tables import read_columns
from daflow.names import TRUTH
from daflow.ports import FloatArray
from daflow.records import Variable

KEPT_BYTES: Final = 256 << 20
"""Snapshots of a variable up to this size are read once a process; larger ones row by row, each time."""


class Normals(Protocol):
    """Standard normals of a stream, addressed by member: the same for every variable drawn from snapshots."""

    def normals(self, member: int, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` of a member's (stop - start,)."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Each member is a snapshot: in an order drawn once for all members and variables, the truth last."""

    variable: Variable
    array: StoredArray
    settings: ParameterSettings
    stream: Normals
    n_members: int

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield the member's snapshot.

        Raises
        ------
        daflow.errors.DataError
            It cannot be used, or all snapshots are members' and none is left for the truth.
        """
        n = self.array.shape[0]
        if member == TRUTH and n == self.n_members:
            raise DataError(
                f"{self.array.label}: no snapshot is left for the truth",
                got=f"{n} snapshots for {n} members",
                do="make the ensemble smaller, give observations.truth, or use draw: gaussian",
            )
        order = np.argsort(self.stream.normals(0, 0, n))
        row = int(order[member])  # the truth's number, -1, takes the last
        where = f"{self.array.label}, row {row} (variable {self.variable.name!r})"
        values = self.array.row(row).astype(np.float64).reshape(self.variable.shape)
        yield checked(where, values, self.settings).ravel()


@dataclass(frozen=True, slots=True)
class Combinations:
    r"""The mean of the snapshots and a random combination of their departures.

    With M snapshots s and standard normals z: :math:`\bar s + c \sum_k z_k (s_k - \bar s) / \sqrt{M - 1}`,
    which has the snapshots' mean and c^2 times their covariance.
    """

    variable: Variable
    array: StoredArray
    settings: ParameterSettings
    stream: Normals
    scale: float

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield the member's combination.

        Raises
        ------
        daflow.errors.DataError
            A snapshot cannot be read, or what comes out is nothing that the variable's transform can take.
        """
        n = self.array.shape[0]
        z = self.stream.normals(member, 0, n)
        # Departures weighted by z are snapshots weighted by z less its mean.
        weights = self.scale / sqrt(n - 1) * (z - z.mean()) + 1.0 / n
        whose = "the truth" if member == TRUTH else f"member {member}"
        where = f"{self.array.label}, combined for {whose} (variable {self.variable.name!r})"
        yield checked(where, self._sum(weights).reshape(self.variable.shape), self.settings).ravel()

    def _sum(self, weights: FloatArray) -> FloatArray:
        if np.prod(self.array.shape) * self.array.dtype.itemsize <= KEPT_BYTES:
            rows = _whole(self.array.file, self.array.name)
            return np.asarray(weights @ rows.reshape(len(rows), -1), np.float64)
        total = np.zeros(self.variable.size)
        for row, weight in enumerate(weights):
            total += weight * self.array.row(row).ravel()
        return total


@lru_cache(maxsize=4)
def _whole(file: Any, name: str | None) -> NDArray[Any]:
    return open_array(file, name).whole()


def open_climatology(
    variable: Variable, settings: ParameterSettings, prior: ClimatologyPrior, n_members: int, stream: Normals
) -> Snapshots | Combinations:
    """Open the snapshots of a variable; nothing is read yet.

    Raises
    ------
    daflow.errors.DataError
        There is no such array, its rows do not have the variable's shape, or they are too few.
    """
    array = open_array(prior.file, prior.array, variable.name)
    check_shape(array, array.shape[1:] if array.shape else None, variable, "(n_snapshots, ...) with ")
    fewest = n_members if prior.draw == "snapshots" else 2
    if array.shape[0] < fewest:
        raise DataError(
            f"{array.label}: too few snapshots",
            got=array.shape[0],
            allowed=f"{fewest} or more for draw: {prior.draw}",
            do="give more snapshots, make the ensemble smaller, or use draw: gaussian",
        )
    if prior.draw == "snapshots":
        return Snapshots(variable, array, settings, stream, n_members)
    return Combinations(variable, array, settings, stream, prior.scale)


@dataclass(frozen=True, slots=True)
class Design:
    """A column of a table: a row a member."""

    label: str
    values: FloatArray
    settings: ParameterSettings

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield the member's number.

        Raises
        ------
        daflow.errors.DataError
            It is asked for the truth, or the number is nothing that the variable's transform can take.
        """
        if member == TRUTH:
            raise DataError(
                f"{self.label}: a design has no truth", do="give observations.truth: {kind: array, ...}"
            )
        yield checked(f"{self.label}, row {member}", self.values[member : member + 1], self.settings)


def open_design(
    variable: Variable, settings: ParameterSettings, prior: DesignPrior, n_members: int
) -> Design:
    """Read a variable's column of a design.

    Raises
    ------
    daflow.errors.DataError
        The variable is more than one number; the table cannot be read, or lacks the column or rows; a cell
        is no number.
    """
    if variable.size != 1:
        raise DataError(
            "a design gives one number a member",
            got=f"shape {variable.shape}",
            allowed="a variable without grid and shape",
            do="use kind: array for larger variables",
        )
    name = prior.column or variable.name
    columns = read_columns(prior.file)
    if name not in columns:
        raise DataError(f"{prior.file}: there is no such column", got=name, allowed=", ".join(columns))
    label = f"{prior.file}, column {name!r}"
    if len(columns[name]) < n_members:
        got = f"{len(columns[name])} rows"
        raise DataError(f"{label}: fewer rows than members", got=got, allowed=f"{n_members} or more")
    try:
        values = np.asarray(columns[name], np.float64)
    except ValueError as error:
        raise DataError(f"{label}: a cell is no number", got=str(error), do="correct the table") from error
    return Design(label, values, settings)
