"""The four Protocols that the run is made of, and what they hand each other.

A `Model` forecasts one member, a `Method` updates one slice, a `Store` keeps every array, a `Pool`
runs tasks. Each can be replaced without the others knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DaflowError
from daflow.names import Phase
from daflow.records import Layout, Outcome, StateSlice, Task

FloatArray = NDArray[np.float64]
StoredArray = NDArray[Any]
"""Numbers as a store keeps them, float64 or float32: `daflow.records.Layout.dtype` says which."""
ObservationTable = Mapping[str, NDArray[Any]]
"""Columns of equal length (n_obs,): ``name``, ``kind``, ``time``, ``x``, ``y``, ``z`` and the model's own."""


@dataclass(frozen=True, slots=True)
class MemberInput:
    """What a model gets to forecast one member."""

    member: int
    """The member's number; `daflow.names.TRUTH` is the truth of a twin experiment."""
    step: int
    parameters: Mapping[str, FloatArray]
    """Variable name -> array in that variable's shape, read from the store when first asked for."""
    observations: ObservationTable
    """What to predict, one row an observation."""
    seed: int
    """For the model's own noise: the same for the same member and step, whatever happened before."""
    work_dir: Path
    """An empty directory of this attempt's own, for files."""
    log_dir: Path
    """What is written here is kept with the run (``daflow logs``)."""


class Model(Protocol):
    """The forward model."""

    def observables(self) -> ObservationTable:
        """Return all that the model can predict, as the table that a twin experiment observes."""
        ...

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        Raises
        ------
        daflow.errors.MemberError
            The model failed, took too long, or its output cannot be used.
        """
        ...


class ManyMembers(Model, Protocol):
    """A forward model that can also forecast several members in one call, for less than one by one."""

    @property
    def together(self) -> int:
        """How many members one call may forecast, as the model's settings say; 1: no more than one."""
        ...

    def forecast_many(self, given: Sequence[MemberInput]) -> list[FloatArray | DaflowError]:
        """Return for each member what `forecast` returns, or the error that it raises, in their order.

        Laws: the same bits as one member at a time, whatever the company and its order; a member that fails
        does not fail the others. What is raised, rather than returned, befell the call: none of its members
        was forecast.
        """
        ...


@dataclass(frozen=True, slots=True)
class Advanced:
    """Where a model has carried a member's state, and what was seen on the way."""

    state: Mapping[str, FloatArray]
    """Variable name -> array in that variable's shape; a variable that is left out stays as it is."""
    predicted: FloatArray
    """(n_obs,) in the order of ``given.observations``, each at its own time."""


class Advancing(Model, Protocol):
    """A forward model whose parameters are a state that it can carry from one time to another."""

    def advance(self, given: MemberInput, start: float, stop: float) -> Advanced:
        """Return the state at ``stop``, and predicted observations whose times are in (start, stop].

        ``given.parameters`` is the state at ``start``, in the model's unit of time. Raises as `forecast`.

        Law: from start to a time between and on from there is from start to stop, up to rounding.
        """
        ...


class AdvancingMembers(ManyMembers, Advancing, Protocol):
    """A forward model that can also carry the states of several members in one call."""

    def advance_many(
        self, given: Sequence[MemberInput], start: float, stop: float
    ) -> list[Advanced | DaflowError]:
        """Return for each member what `advance` returns, or its error; laws as of `forecast_many`."""
        ...


@dataclass(frozen=True, slots=True)
class Observations:
    """What was observed, and how far it can be trusted."""

    table: ObservationTable
    """With the columns ``value`` and ``error_std`` (n_obs,)."""
    error: Mapping[str, NDArray[Any]]
    """The observation-error covariance R: ``matrix``, or ``blocks`` and ``block_sizes``, or ``factor``
    and ``variances``, or nothing where it is diagonal and ``error_std`` says it all."""
    numbers: NDArray[np.int64] | None = None
    """(n_obs,) rising: the number of each in the table that they are part of, by which its random numbers are
    addressed; ``None``: they are all of it."""
    notes: tuple[str, ...] = ()
    """What was done to them when they were read, in words."""


Arrays = Mapping[str, NDArray[Any]]
"""Named arrays: what a method prepares once a step, or finds once a run for a slice."""

BlockReader = Callable[[int, int], FloatArray]
"""Predicted observations by blocks: (start, stop) -> (n_members, stop - start), a new array each time."""


@dataclass(frozen=True, slots=True)
class SlicePoints:
    """Where the numbers of a slice lie."""

    variable: NDArray[np.int64]
    """(n,) the number of each one's variable in ``Layout.variables``."""
    coordinates: FloatArray
    """(n, 3) x, y, z; NaN along axes that a variable does not have."""
    start: int = 0
    """The place of the first one along ``state``."""


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

        One wait for the disk instead of one a write. Until then nobody sees them, and an error in the context
        takes back those that do not last yet; so their receipts come after it. Threads may share it. All
        other writes last, as ever, when they return.
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


class Pool(Protocol):
    """Workers."""

    @property
    def slots(self) -> int:
        """How many groups of tasks can run at once now."""
        ...

    @property
    def n_out(self) -> int:
        """How many groups are out: running, or waiting at a worker."""
        ...

    def submit(self, tasks: Sequence[Task]) -> None:
        """Send tasks of one stage to one worker, together; their outcomes come from `wait`."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the outcomes that came home, waiting at most so long for the first thing that comes home."""
        ...

    def sent_back(self) -> list[Task]:
        """Return the tasks that came home as they went: not begun, or not kept, and nobody's fault.

        Each is returned once. Laws: every task that was submitted comes home once, with its outcome or here;
        the death of a worker is held against the one task that was under way there.
        """
        ...

    def close(self) -> None:
        """Let the workers go; what they have not finished is left unfinished."""
        ...
