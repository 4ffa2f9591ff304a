"""How far an ensemble's mean is from the truth of a twin experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from daflow.ports import FloatArray, StoredArray
from daflow.records import Variable

ERROR_BEFORE: Final = "squared_error_before."
ERROR_AFTER: Final = "squared_error_after."
"""Figures of a filter's update, one a variable: the sum over its numbers of the mean's squared error."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueSlice:
    """The truth of a slice.

    Parameters
    ----------
    values : (n,)
        At the time of the analysis.
    segments
        The variables in the slice, each with its first and last-plus-one number there.
    """

    values: FloatArray
    segments: Sequence[tuple[Variable, int, int]]


def squared_errors(which: str, members: StoredArray, truth: TrueSlice | None) -> dict[str, float]:
    """Return the squared error of the mean, summed over each variable; nothing without a truth.

    Parameters
    ----------
    which
        `ERROR_BEFORE` or `ERROR_AFTER`: what the figures' names begin with.
    members : (n_members, n)
        A slice.
    truth
        Of that slice.

    Notes
    -----
    Cost: one pass over the slice. Memory: a member's part of it.
    """
    if truth is None:
        return {}
    squares = np.square(members.mean(axis=0, dtype=np.float64) - truth.values)
    return {
        which + variable.name: float(squares[start:stop].sum()) for variable, start, stop in truth.segments
    }
