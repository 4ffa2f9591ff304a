"""A `Method` updates slices: what all share is prepared once a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from daflow.ports.arrays import Arrays, BlockReader, FloatArray, SlicePoints
from daflow.records import StateSlice


@dataclass(frozen=True, slots=True)
class StepInput:
    """What a method gets to prepare a step."""

    step: int
    members: Sequence[int]
    predicted: BlockReader
    """What these members predict of the step's observations."""
    before: Arrays
    """What was prepared for the step before, with what it concluded; empty at the first."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all slices of a step share."""

    arrays: Arrays
    figures: Mapping[str, float] = field(default_factory=dict)
    """A few numbers worth a place in the journal and the report: the step length, chi-square."""
    last: bool = False
    """Whether this step's update is the last, however many steps there might have been."""


@dataclass(frozen=True, slots=True)
class SliceInput:
    """What a method gets to survey or update a slice, beside its numbers."""

    step: int
    where: StateSlice
    members: Sequence[int]
    factors: Arrays
    """What `Method.prepare` made of the step, and `Surveying.conclude` added to it."""
    places: Arrays
    """What `Method.localize` made of where the slice lies."""
    carried: Arrays
    """What the update of this slice left for this step; empty at the first."""


class Method(Protocol):
    """An inversion or a filter's analysis: prepared once a step, applied once a slice."""

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        ...

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts: ``step``, or an earlier one."""
        ...

    def prepare(self, given: StepInput) -> Prepared:
        """Return what all slices of a step share."""
        ...

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return what `apply` needs to know of where a slice lies, the same at every step.

        Empty where that does not matter, and then ``locate``, which costs time and memory, is not called;
        else it is found once a run and kept.
        """
        ...

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place.

        The slab is float32 where that is how the store keeps it and no variable in it is transformed.
        Returns what is carried to the slice's next update, mostly nothing.
        """
        ...


class Surveying(Method, Protocol):
    """A method that has to know something of the whole prior before it updates any slice.

    It looks at each slice once, before any is updated; what it found is put together in the order of the
    slices, so that the number of workers does not matter.
    """

    def survey(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what `conclude` needs to know of a prior slice (n_members, n), which is left as it is."""
        ...

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what `apply` needs to know of all slices: what their surveys found, in their order.

        ``factors`` is what `prepare` made; the arrays that are returned are added to it.
        """
        ...
