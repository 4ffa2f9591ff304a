"""A `Store` keeps every array, and says what has been done for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from daflow.names import Phase
from daflow.ports.arrays import Arrays, FloatArray, Observations, SlicePoints, StoredArray
from daflow.records import Layout, Outcome, StateSlice, Task


class Store(Protocol):
    """Arrays and receipts, write-once: every chunk has one writer, data are durable before their receipt.

    The member `daflow.names.TRUTH` has a place of its own. A write returns a checksum of what it wrote and
    raises `daflow.errors.StoreError` where the disk is full or not writable.
    """

    @property
    def layout(self) -> Layout:
        """What the arrays look like."""
        ...

    @property
    def forecasts(self) -> Store:
        """The same store; what it has of a step is the state that its forecast ends at: one a cycle."""
        ...

    @property
    def smoothed(self) -> Store:
        """The same store; what it has of a step is the state that it starts from, smoothed: with a lag."""
        ...

    def create_step(self, step: int) -> None:
        """Make the arrays of a step; making them again changes nothing."""
        ...

    def write_member(self, step: int, member: int, pieces: Iterable[FloatArray]) -> str:
        """Write a member's parameters from pieces that follow each other along ``state``."""
        ...

    def read_member(self, step: int, member: int, start: int, stop: int) -> FloatArray:
        """Return the numbers ``start`` to ``stop`` of a member's parameters (stop - start,)."""
        ...

    def slab(self, n_members: int) -> StoredArray:
        """Return memory for a slice: (n_members, ``layout.slice_size``) of the type that is stored.

        It is made such that the disk can be read into it directly; use it for one slice after the other.
        """
        ...

    def read_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> None:
        """Read one slice of these members' parameters into a slab, a row each, from its first column on.

        What follows the slice in the slab, where the last slice is shorter, is not to be used.
        """
        ...

    def write_slice(self, step: int, where: StateSlice, members: Sequence[int], slab: StoredArray) -> str:
        """Write one slice of these members' parameters from a slab, a row each, from its first column on.

        What follows the slice in the slab is overwritten.
        """
        ...

    def write_predicted(self, step: int, member: int, values: FloatArray) -> str:
        """Write a member's predicted observations (n_obs,): those of the step, the truth's of all steps."""
        ...

    def read_predicted(self, step: int, members: Sequence[int], start: int, stop: int) -> FloatArray:
        """Return what these members predict of the observations ``start`` to ``stop`` (n_members, n).

        They are counted from the first that the step has, `daflow.records.Layout.obs_of`.
        """
        ...

    def together(self) -> AbstractContextManager[Store]:
        """Return a store whose writes of members, slices and predictions last when the context ends.

        One wait for the disk instead of one a write. Until then nobody may count on them: some may be seen,
        and an error in the context takes back those that do not last yet; so their receipts come after it.
        Threads may share it. All other writes last, as ever, when they return.
        """
        ...

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """Keep named arrays under a name such as ``step=3/factors``, whole or not at all."""
        ...

    def read_arrays(self, name: str) -> Arrays | None:
        """Return the arrays kept under a name, not to be written to; ``None`` if there are none."""
        ...

    def write_survivors(self, step: int, members: Sequence[int]) -> None:
        """Write which members an update starts from."""
        ...

    def read_survivors(self, step: int) -> tuple[int, ...]:
        """Return which members an update starts from."""
        ...

    def write_observations(self, observations: Observations) -> None:
        """Write what was observed; writing it again changes nothing."""
        ...

    def read_observations(self) -> Observations:
        """Return what was observed."""
        ...

    def write_coordinates(self, where: StateSlice, points: SlicePoints) -> str:
        """Write where the numbers of a slice lie."""
        ...

    def write_receipts(self, outcomes: Sequence[Outcome]) -> None:
        """Say, durably and last, how tasks of one stage ended that ended together."""
        ...

    def receipt(self, task: Task) -> Outcome | None:
        """Return the receipt of an attempt, if it left one."""
        ...

    def receipts_together(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Return the receipts of tasks of one stage that ended together, if just these did; else nothing."""
        ...

    def receipts(self) -> Iterator[Outcome]:
        """Return every receipt there is."""
        ...

    def receipts_of(self, phase: Phase, step: int, known: Callable[[Task], bool]) -> Iterator[Outcome]:
        """Return the receipts of a stage: none that tells only of tasks that are known, maybe some that are.

        Law: what is known costs a look at a name, not at what the receipt says.
        """
        ...
