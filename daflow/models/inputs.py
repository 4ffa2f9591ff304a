"""What the built-in models read of a member's input: a variable by name, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError, ModelFailed
from daflow.models.predictions import count_observations, describe_row
from daflow.ports import FloatArray, MemberInput, ObservationTable

MANY = 12
"""A message names so many allowed values and hints at the rest."""


def variable(given: MemberInput, name: str, shape: tuple[int, ...], model: str) -> FloatArray:
    """Return a variable of a member in the shape that a model needs.

    A variable of the same numbers in a row, whatever its own shape, will not do; only a single number is
    taken in any shape.

    Raises
    ------
    daflow.errors.DataError
        There is no such variable, or its shape is another.
    daflow.errors.ModelFailed
        It is not finite; the first such entry is named.
    """
    if name not in given.parameters:
        raise DataError(
            f"the {model} model needs the variable {name!r}, which is not among 'parameters'",
            allowed=", ".join(given.parameters),
            do="add it under 'parameters', or name another in the model's settings",
        )
    values = np.asarray(given.parameters[name], dtype=np.float64)
    if values.size == 1 and shape == ():
        values = values.reshape(())
    if values.shape != shape:
        raise DataError(
            f"variable {name!r} has not the shape that the {model} model needs",
            got=values.shape,
            allowed=shape,
            do="correct the variable's grid or the model's settings",
        )
    refuse_entries(name, values, np.isfinite(values), "finite numbers")
    return values


def refuse_entries(name: str, values: FloatArray, good: NDArray[np.bool_], allowed: str) -> None:
    """Fail the member if an entry of its variable is no good, and name the first that is not."""
    if not good.all():
        where = np.unravel_index(int(np.argmin(good)), values.shape)
        at = ", ".join(str(int(i)) for i in where)
        raise ModelFailed(
            f"variable {name!r} cannot be used at [{at}] ({int((~good).sum())} entries in all)",
            got=float(values[where]),
            allowed=allowed,
            do="look at the prior and the transform of this variable",
        )


def rows_asked(
    table: ObservationTable, asked: ObservationTable, ways: Sequence[tuple[str, ...]], model: str
) -> NDArray[np.int64]:
    """Return for each row of ``asked`` the row (n_obs,) of a model's ``table`` that it means.

    ``ways`` are the sets of columns that tell the table's rows apart; the first that ``asked`` has in full
    is used. Numbers agree in nine digits.

    Laws: the order of the rows asked is kept; the whole table asks for every row once.

    Raises
    ------
    daflow.errors.DataError
        The columns are missing, or a row means nothing that the model can predict.
    """
    by = next((way for way in ways if all(key in asked for key in way)), None)
    if by is None:
        raise DataError(
            f"the observations do not say which of the {model} model's predictions they mean",
            got="columns " + ", ".join(asked),
            allowed="columns " + ", or ".join(" and ".join(way) for way in ways),
            do="add these columns to the observations",
        )
    known = {key: row for row, key in enumerate(_keys(table, by))}
    found = np.array([known.get(key, -1) for key in _keys(asked, by)], dtype=np.int64)
    if (found < 0).any():
        row = int(np.argmax(found < 0))
        raise DataError(
            f"the {model} model cannot predict {int((found < 0).sum())} of {count_observations(asked)} "
            f"observations, first {describe_row(asked, row)}",
            got=", ".join(f"{key} = {asked[key][row]}" for key in by),
            allowed="; ".join(f"{key}: {_shown(table, key)}" for key in by),
            do="correct the observations, or the times and places that the model's settings name",
        )
    return found


class RowsAsked:
    """What `rows_asked` found for a table, kept while it is the same table that asks.

    A worker asks with one table for all of its members: the rows are sought for the first of them.
    """

    def __init__(self, ways: Sequence[tuple[str, ...]], model: str) -> None:
        self._ways, self._model = ways, model
        self._last: tuple[ObservationTable, NDArray[np.int64]] | None = None

    def rows(self, observables: Callable[[], ObservationTable], asked: ObservationTable) -> NDArray[np.int64]:
        """Return for each row of ``asked`` the row (n_obs,) of the model's table that it means."""
        last = self._last
        if last is None or last[0] is not asked:
            last = asked, rows_asked(observables(), asked, self._ways, self._model)
            self._last = last
        return last[1]


def _keys(table: ObservationTable, by: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(map(_word, table[key].tolist()) for key in by), strict=True)


def _word(value: object) -> str:
    return f"{float(value):.9g}" if isinstance(value, int | float) else str(value).strip()


def _shown(table: ObservationTable, key: str) -> str:
    values = list(dict.fromkeys(map(_word, table[key].tolist())))
    return ", ".join(values[:MANY]) + (f", ... ({len(values)} in all)" if len(values) > MANY else "")
