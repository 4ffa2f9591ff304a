"""A store in this process's memory: for tests, and for what fits there and need not last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy

import numpy as np
from numpy.typing import NDArray

from daflow.errors import StoreError
from daflow.names import TRUTH, Phase
from daflow.ports import Arrays, FloatArray, Observations, SlicePoints, StoredArray
from daflow.records import Layout, Outcome, StateSlice, Task
from daflow.storage.checksums import Checksum
from daflow.storage.pieces import rechunked

Address = tuple[int, int, int]
"""Step, member, slice."""


class MemoryStore:
    """Chunks in a dictionary; keeps and refuses what `daflow.storage.ZarrStore` does.

    Parameters
    ----------
    layout
        What the arrays look like.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parameters: dict[Address, NDArray[np.floating]] = {}
        self._forecasts: dict[Address, NDArray[np.floating]] = {}
        self._smoothed: dict[Address, NDArray[np.floating]] = {}
        self._predicted: dict[tuple[int, int], FloatArray] = {}
        self._arrays: dict[str, Arrays] = {}
        self._survivors: dict[int, tuple[int, ...]] = {}
        self._receipts: dict[Task, Outcome] = {}
        self._observations: Observations | None = None
        self.points: dict[int, SlicePoints] = {}
        """Slice -> where its numbers lie."""

    @property
    def layout(self) -> Layout:
        """What the arrays look like."""
        return self._layout

    @property
    def forecasts(self) -> MemoryStore:
        """The same store, whose members and slices are those after the forecast of a step: a filter's."""
        store = copy(self)
        store._parameters = self._forecasts  # noqa: SLF001 - its own
        return store

    @property
    def smoothed(self) -> MemoryStore:
        """The same store, whose slices are of the smoothed states that steps start from."""
        store = copy(self)
        store._parameters = self._smoothed  # noqa: SLF001 - its own
        return store

    def create_step(self, step: int) -> None:
        """Do nothing: chunks appear when they are written."""

    def write_member(self, step: int, member: int, pieces: Iterable[FloatArray]) -> str:
        """Write a member's parameters from pieces that follow each other along ``state``."""
        mark, chunk = Checksum(), np.empty(self._layout.slice_size, dtype=self._layout.dtype)
        chunks = rechunked(pieces, self._layout.n_state, chunk, f"member {member} of step {step}")
        for index, numbers in enumerate(mark.of(chunks)):
            self._parameters[step, member, index] = numbers.copy()
        return mark.digest

    def read_member(self, step: int, member: int, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` of a member's parameters (stop - start,)."""
        size = self._layout.slice_size
        first = start // size
        chunks = [self._chunk((step, member, index)) for index in range(first, -(-stop // size))]
        row = np.concatenate([np.empty(0), *chunks])
        return row[start - first * size : stop - first * size]

    def slab(self, n_members: int) -> StoredArray:
        """Return memory for a slice: (n_members, ``layout.slice_size``) of the type that is stored."""
        return np.empty((n_members, self._layout.slice_size), dtype=self._layout.dtype)

    def read_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> None:
        """Read one slice of these members' parameters into a slab, a row each, from its first column on."""
        for row, member in zip(slab, members, strict=True):
            row[:] = self._chunk((step, member, where.index))

    def write_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> str:
        """Write one slice of these members' parameters from a slab, a row each, from its first column on."""
        slab[:, where.size :] = np.nan
        for row, member in zip(slab, members, strict=True):
            self._parameters[step, member, where.index] = row.copy()
        return Checksum().over(slab)

    @contextmanager
    def together(self) -> Iterator[MemoryStore]:
        """Return the store: its writes last, as long as it does, when they return."""
        yield self

    def write_predicted(self, step: int, member: int, values: FloatArray) -> str:
        """Write a member's predicted observations (n_obs,): those of the step, the truth's of all steps."""
        kept = np.array(values, dtype=np.float64)
        self._predicted[step, member] = kept
        return Checksum().over(kept)

    def read_predicted(self, step: int, members: Sequence[int], start: int, stop: int) -> FloatArray:
        """Return what these members predict of the observations ``start`` to ``stop`` (n_members, n)."""
        rows = np.empty((len(members), stop - start))
        for row, member in zip(rows, members, strict=True):
            if (step, member) not in self._predicted:
                raise _absent(f"predicted observations of member {member} at step {step}")
            row[:] = self._predicted[step, member][start:stop]
        return rows

    def write_survivors(self, step: int, members: Sequence[int]) -> None:
        """Write which members an update starts from."""
        self._survivors[step] = tuple(members)

    def read_survivors(self, step: int) -> tuple[int, ...]:
        """Return which members an update starts from."""
        if step not in self._survivors:
            raise _absent(f"list of survivors of step {step}")
        return self._survivors[step]

    def write_observations(self, observations: Observations) -> None:
        """Write what was observed; writing it again changes nothing."""
        if self._observations is None:
            table = {name: np.array(column) for name, column in observations.table.items()}
            error = {name: np.array(array) for name, array in observations.error.items()}
            self._observations = Observations(table, error, observations.numbers, observations.notes)

    def read_observations(self) -> Observations:
        """Return what was observed."""
        if self._observations is None:
            raise _absent("observations")
        return self._observations

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """Keep named arrays under a name such as ``step=3/factors``, whole or not at all."""
        kept = {key: np.array(array) for key, array in arrays.items()}
        for array in kept.values():
            array.flags.writeable = False
        self._arrays[name] = kept

    def read_arrays(self, name: str) -> Arrays | None:
        """Return the arrays kept under a name, not to be written to; ``None`` if there are none."""
        return self._arrays.get(name)

    def write_coordinates(self, where: StateSlice, points: SlicePoints) -> str:
        """Write where the numbers of a slice lie."""
        self.points[where.index] = points
        mark = Checksum()
        mark.over(np.ascontiguousarray(points.variable))
        return mark.over(np.ascontiguousarray(points.coordinates))

    def write_receipts(self, outcomes: Sequence[Outcome]) -> None:
        """Say last how tasks of one stage ended that ended together."""
        self._receipts |= {outcome.task: outcome for outcome in outcomes}

    def receipt(self, task: Task) -> Outcome | None:
        """Return the receipt of an attempt, if it left one."""
        return self._receipts.get(task)

    def receipts_together(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Return the receipts of tasks of one stage that ended together, if all are there; else nothing."""
        found = [self._receipts[task] for task in tasks if task in self._receipts]
        return found if len(found) == len(tasks) else []

    def receipts(self) -> Iterator[Outcome]:
        """Return every receipt there is now."""
        return iter(list(self._receipts.values()))

    def receipts_of(self, phase: Phase, step: int, known: Callable[[Task], bool]) -> Iterator[Outcome]:
        """Return the receipts of a stage: none that tells only of tasks that are known."""
        of_stage = (o for o in self.receipts() if (o.task.phase, o.task.step) == (phase, step))
        return (outcome for outcome in of_stage if not known(outcome.task))

    def parameters(self, step: int) -> FloatArray:
        """Return a whole step (n_members, n_state); NaN where nothing was written."""
        layout = self._layout
        whole = np.full((layout.n_members, layout.n_state), np.nan)
        for (of_step, member, index), chunk in self._parameters.items():
            if of_step == step and member != TRUTH:
                where = layout.slice(index)
                whole[member, where.start : where.stop] = chunk[: where.size]
        return whole

    def predicted(self, step: int) -> FloatArray:
        """Return what every member predicts at a step (n_members, n_obs); NaN where nothing was written."""
        whole = np.full((self._layout.n_members, len(self._layout.obs_of(step))), np.nan)
        for (of_step, member), row in self._predicted.items():
            if of_step == step and member != TRUTH:
                whole[member] = row
        return whole

    def _chunk(self, address: Address) -> NDArray[np.floating]:
        if address not in self._parameters:
            step, member, index = address
            raise _absent(f"slice {index} of member {member} at step {step}")
        return self._parameters[address]


def _absent(what: str) -> StoreError:
    return StoreError(f"there is no {what} in the store", do="write it first")
