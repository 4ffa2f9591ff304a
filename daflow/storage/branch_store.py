"""The store of a branch: steps up to its first analysis are its parent's, those after it its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from daflow.errors import StoreError
from daflow.names import OBSERVATIONS, TRUTH, Phase
from daflow.ports import Arrays, FloatArray, Observations, SlicePoints, Store, StoredArray
from daflow.records import Layout, Outcome, StateSlice, Task
from daflow.storage.medium import ZarrRoot
from daflow.storage.zarr_store import ZarrStore

CARRIED: Final = "carried"
"""What updates leave for a step is named by that step: it was there before the step's own analysis."""
_OF_STEP: Final = re.compile(r"step=(\d+)(?:/(\w+))?")


class BranchStore:
    """Arrays of a branch; see `daflow.ports.Store`.

    Laws: what the parent has made, the steps up to ``step`` with their forecasts, is read there and never
    written; all that is written goes to the branch's own store; receipts are the branch's own.

    Parameters
    ----------
    own
        Where the branch writes.
    parent
        The store of the run that it branches off from: a branch may have branches.
    step
        The step whose analysis is the branch's first.
    """

    def __init__(self, own: ZarrStore, parent: ZarrStore | BranchStore, step: int) -> None:
        self._own, self._parent, self._step = own, parent, step
        self._writer: Store = own

    @property
    def layout(self) -> Layout:
        """What the arrays look like."""
        return self._own.layout

    @property
    def root(self) -> ZarrRoot:
        """The root of the groups that are the branch's own."""
        return self._own.root

    def make_ready(self) -> None:
        """Make what is missing and remove what writers that were killed left; only while none is at work."""
        self._own.make_ready()

    def root_of(self, group: str) -> ZarrRoot:
        """Return the root in which a group such as ``step=2`` lies: its own, or one of those above it."""
        if group == OBSERVATIONS and self._own.has_observations():
            return self.root
        found = _OF_STEP.fullmatch(group)
        if found is not None and int(found[1]) > self._step:
            return self.root
        return root_of(self._parent, group)

    @property
    def forecasts(self) -> BranchStore:
        """The same branch, whose members and slices are those after the forecast of a step: a filter's."""
        store = BranchStore(self._own.forecasts, self._parent.forecasts, self._step)
        store._writer = self._writer.forecasts
        return store

    @property
    def smoothed(self) -> BranchStore:
        """The same branch, whose slices are of the smoothed states that steps start from."""
        store = BranchStore(self._own.smoothed, self._parent.smoothed, self._step)
        store._writer = self._writer.smoothed
        return store

    def create_step(self, step: int) -> None:
        """Make the arrays of a step; those of the parent's steps are there."""
        if step > self._step:
            self._own.create_step(step)

    def write_member(self, step: int, member: int, pieces: Iterable[FloatArray]) -> str:
        """Write a member's parameters from pieces that follow each other along ``state``."""
        return self._for_writing(step, member).write_member(step, member, pieces)

    def read_member(self, step: int, member: int, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` of a member's parameters (stop - start,)."""
        return self._with(step, member).read_member(step, member, start, stop)

    def slab(self, n_members: int) -> StoredArray:
        """Return memory for a slice: (n_members, ``layout.slice_size``) of the type that is stored."""
        return self._own.slab(n_members)

    def read_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> None:
        """Read one slice of these members' parameters into a slab, a row each, from its first column on."""
        self._with(step).read_slice(step, where, members, slab)

    def write_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> str:
        """Write one slice of these members' parameters from a slab, a row each, from its first column on."""
        return self._for_writing(step).write_slice(step, where, members, slab)

    def write_predicted(self, step: int, member: int, values: FloatArray) -> str:
        """Write a member's predicted observations (n_obs,)."""
        return self._for_writing(step, member).write_predicted(step, member, values)

    def read_predicted(self, step: int, members: Sequence[int], start: int, stop: int) -> FloatArray:
        """Return what these members predict of the observations ``start`` to ``stop`` (n_members, n)."""
        return self._with(step, *members).read_predicted(step, members, start, stop)

    @contextmanager
    def together(self) -> Iterator[BranchStore]:
        """Return a store whose writes of members, slices and predictions last when the context ends."""
        with self._own.together() as shared:
            store = BranchStore(self._own, self._parent, self._step)
            store._writer = shared
            yield store

    def write_survivors(self, step: int, members: Sequence[int]) -> None:
        """Write which members an update starts from."""
        self._for_writing(step).write_survivors(step, members)

    def read_survivors(self, step: int) -> tuple[int, ...]:
        """Return which members an update starts from."""
        return self._with(step).read_survivors(step)

    def write_observations(self, observations: Observations) -> None:
        """Write what was observed where its errors are not taken as the parent takes them."""
        self._own.write_observations(observations)

    def read_observations(self) -> Observations:
        """Return what was observed: the branch's own where there are such, else the parent's."""
        own = self._own.has_observations()
        return self._own.read_observations() if own else self._parent.read_observations()

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """Keep named arrays under a name such as ``step=3/factors``, whole or not at all."""
        self._own.write_arrays(name, arrays)

    def read_arrays(self, name: str) -> Arrays | None:
        """Return the arrays kept under a name, not to be written to; ``None`` if there are none.

        What was kept of the steps before is the parent's. What has no step is named by a key of the settings
        that it was made with (`daflow.execution.tasks.places`): the parent's is used if the branch has none.
        """
        found = _OF_STEP.match(name)
        if found is None:
            own = self._own.read_arrays(name)
            return self._parent.read_arrays(name) if own is None else own
        before = self._step + 1 if found[2] == CARRIED else self._step
        return (self._parent if int(found[1]) < before else self._own).read_arrays(name)

    def write_coordinates(self, where: StateSlice, points: SlicePoints) -> str:
        """Refuse: where the state lies, the parent has written."""
        raise self._not_here(f"the coordinates of slice {where.index} ({len(points.variable)} numbers)")

    def write_receipts(self, outcomes: Sequence[Outcome]) -> None:
        """Say, durably and last, how tasks of one stage ended that ended together."""
        self._own.write_receipts(outcomes)

    def receipt(self, task: Task) -> Outcome | None:
        """Return the receipt of an attempt, if it left one."""
        return self._own.receipt(task)

    def receipts_together(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Return the receipts of tasks of one stage that ended together, if just these did; else nothing."""
        return self._own.receipts_together(tasks)

    def receipts(self) -> Iterator[Outcome]:
        """Return every receipt there is."""
        return self._own.receipts()

    def receipts_of(self, phase: Phase, step: int, known: Callable[[Task], bool]) -> Iterator[Outcome]:
        """Return the receipts of a stage: none that tells only of known tasks, maybe some of them."""
        return self._own.receipts_of(phase, step, known)

    def _with(self, step: int, *members: int) -> Store:
        """Return the store that has what is read of a step; the truth is where it was drawn."""
        return self._own if step > self._step and TRUTH not in members else self._parent

    def _for_writing(self, step: int, *members: int) -> Store:
        if step > self._step and TRUTH not in members:
            return self._writer
        raise self._not_here(f"step {step}")

    def _not_here(self, what: str) -> StoreError:
        return StoreError(
            f"{what} belongs to the run that this one branches off from",
            got=f"an attempt to write it from {self.root}",
            allowed=f"steps after {self._step}",
            do="resume that run itself; tell us how this came about, for a branch never asks for it",
        )


def root_of(store: ZarrStore | BranchStore, group: str) -> ZarrRoot:
    """Return the root of the zarr store in which a group such as ``step=2`` lies."""
    return store.root_of(group) if isinstance(store, BranchStore) else store.root
