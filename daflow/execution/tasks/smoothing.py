"""A filter's states, corrected by later analyses too: what the slices of a step are multiplied by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from daflow.errors import StoreError
from daflow.execution.tasks.workbench import Workbench, factors_of
from daflow.names import TRUTH
from daflow.numerics.filters.lagged_smoother import composed_as_members_leave
from daflow.numerics.inversion.global_update import transform_members
from daflow.numerics.inversion.thin_transform import matrix_of
from daflow.ports import Arrays, FloatArray, StoredArray
from daflow.records import StateSlice

CHECKED: Final = "checked.scale"
"""Kept of a step whose observations were checked; alone, without a transform, where none was believed."""


@dataclass(frozen=True, eq=False)
class Smoothing:
    """How the state that a step starts from is smoothed.

    Parameters
    ----------
    members
        Those who came through the step's own forecast: the ensemble of the first transform.
    rows
        Which of these came through all the forecasts whose observations smooth the state, rising.
    matrix : (n_members, n_members)
        Smoothed members from these; who was left behind on the way stays as it is.
    """

    members: tuple[int, ...]
    rows: tuple[int, ...]
    matrix: FloatArray

    @property
    def kept(self) -> tuple[int, ...]:
        """The members that are smoothed."""
        return tuple(self.members[row] for row in self.rows)

    def apply(self, slab: StoredArray) -> None:
        """Smooth a slice (n_members, n) in place."""
        transform_members(self.matrix, slab, slab)

    def without_lost(self, slab: StoredArray) -> StoredArray:
        """Return the rows of a slab that are kept, moved together at its beginning."""
        for place, row in enumerate(self.rows):
            if place != row:
                slab[place] = slab[row]
        return slab[: len(self.rows)]


def smoothing_of(bench: Workbench, step: int) -> Smoothing:
    """Return how the state of a step is smoothed, from what the cycles that follow have prepared.

    Cost: n_members^3 a cycle of the lag.

    Raises
    ------
    daflow.errors.StoreError
        What a cycle prepared is gone.
    """
    cycles = bench.store.layout.smoothed_by(step)
    members = [bench.store.read_survivors(cycle) for cycle in cycles]
    product = composed_as_members_leave(members, [_transform(bench, cycle) for cycle in cycles])
    return _in_place(members[0], members[-1], product)


def _in_place(first: tuple[int, ...], last: Sequence[int], product: FloatArray) -> Smoothing:
    """Return a square transform: a slice is smoothed where it lies."""
    row_of = {member: row for row, member in enumerate(first)}
    rows = tuple(row_of[member] for member in last)
    matrix = np.eye(len(first))
    matrix[list(rows)] = product
    return Smoothing(first, rows, matrix)


def _transform(bench: Workbench, step: int) -> FloatArray | None:
    """Return the transform of a step's members; None where no observation of it was believed."""
    kept: Arrays = bench.kept(factors_of(step), f"what was prepared for step {step}")
    if (transform := matrix_of(kept)) is not None:
        return transform
    if CHECKED in kept:
        return None
    raise StoreError(f"what was prepared for step {step} has no transform", do="run the workflow anew")


def truth_at_start(bench: Workbench, step: int, where: StateSlice) -> FloatArray:
    """Return the truth of a twin experiment at the time at which a step starts, a slice of it."""
    if step == 0:
        return bench.store.read_member(0, TRUTH, where.start, where.stop)
    return bench.store.forecasts.read_member(step - 1, TRUTH, where.start, where.stop)
