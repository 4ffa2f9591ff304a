"""Frozen facts that travel between processes and are journalled: numbers and words, never arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from daflow.names import Phase, Status


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular grid: the coordinates of its cell centres follow from a few numbers.

    ``dims[i]`` has ``shape[i]`` cells of ``spacing[i]`` from ``origin[i]`` on along the axis
    ``axes[i]`` (``x``, ``y`` or ``z``), in the user's unit of length. The last dimension runs fastest.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """One of the user's variables and where it lies along ``state``."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    start: int
    grid: Grid | None = None
    """``None``: the variable has no place in space."""

    @property
    def size(self) -> int:
        """How many numbers a member has of it."""
        return prod(self.shape)

    @property
    def stop(self) -> int:
        """One past its last number along ``state``."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class StateSlice:
    """A run of consecutive numbers along ``state``: one column of chunks, one update task."""

    index: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many numbers of each member it holds."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Cycle:
    """From one analysis to the next: a state goes from ``start`` to ``stop`` and is observed on the way."""

    start: float
    stop: float
    first: int
    """The cycle's first observation in the table."""
    last: int
    """One past its last observation."""
    goes_on: bool = True
    """Whether the update goes on from where the forecast ends. Else it corrects the state that the forecast
    started from, and what follows is the same cycle, forecast once more."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the store's arrays look like; fixed when the run is made, whatever the number of workers."""

    variables: tuple[Variable, ...]
    n_members: int
    n_obs: int
    slice_size: int
    dtype: str = "float64"
    codec: str = "none"
    """How the chunks of steps are compressed."""
    sharding: str = "none"
    """``aligned``: chunks that one task writes lie in one file."""
    cycles: tuple[Cycle, ...] = ()
    """A filter's, one a step; they cover the observations in order, a repeated one several times.
    Empty: every step has all of them."""
    lag: int = 0
    """By how many cycles observations reach back, into the state that an earlier cycle started from."""

    def obs_of(self, step: int) -> range:
        """Return which observations a step has; in a filter none after the last cycle."""
        if not self.cycles:
            return range(self.n_obs)
        if step >= len(self.cycles):
            return range(self.n_obs, self.n_obs)
        return range(self.cycles[step].first, self.cycles[step].last)

    def cycle(self, step: int) -> Cycle | None:
        """Return from when to when a step's forecast goes; None where there are no cycles."""
        return self.cycles[step] if self.cycles else None

    def first_of(self, step: int) -> int:
        """Return the first step of the cycle that a step is part of: itself, where none is repeated."""
        while step > 0 and self.cycles and not self.cycles[step - 1].goes_on:
            step -= 1
        return step

    def forecasts_at(self, step: int) -> bool:
        """Say whether a step has the state that its forecast ends at, beside the one that it starts from."""
        return step < len(self.cycles)

    def smoothed_by(self, step: int) -> range:
        """Return the cycles whose analyses smooth the state that a step starts from; none without a lag."""
        return range(step, min(step + self.lag, len(self.cycles)))

    @property
    def n_state(self) -> int:
        """How many numbers a member has."""
        return self.variables[-1].stop

    @property
    def n_slices(self) -> int:
        """How many slices the state is cut into."""
        return -(-self.n_state // self.slice_size)

    def slice(self, index: int) -> StateSlice:
        """Return the slice of that number."""
        start = index * self.slice_size
        return StateSlice(index, start, min(start + self.slice_size, self.n_state))

    def segments(self, where: StateSlice) -> list[tuple[Variable, int, int]]:
        """Return the variables in a slice, each with its first and last-plus-one number within it."""
        return [
            (variable, max(variable.start - where.start, 0), min(variable.stop - where.start, where.size))
            for variable in self.variables
            if variable.start < where.stop and variable.stop > where.start
        ]


@dataclass(frozen=True, slots=True)
class Task:
    """What is sent to a worker: an address, a few bytes.

    ``index`` is a member in the phases of members, a slice in an update, 0 where there is only one.
    """

    phase: Phase
    step: int
    index: int
    attempt: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as four words: a group of tasks stays a few bytes a task."""
        return Task, (self.phase, self.step, self.index, self.attempt)

    @property
    def label(self) -> str:
        """A name for dashboards and file names, sortable."""
        return f"{self.phase}-{self.step}-{self.index:05d}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes home from a task."""

    task: Task
    status: Status
    seconds: float = 0.0
    host: str = ""
    reason: str = ""
    started: float = 0.0
    """Seconds since the epoch."""
    key: str = ""
    """The key of the inputs that the task worked from."""
    digest: str = ""
    """A checksum of what it wrote."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """A few numbers worth a place in the journal: seconds spent where, values clipped, norms."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the bare values."""
        return Outcome, (
            self.task,
            self.status,
            self.seconds,
            self.host,
            self.reason,
            self.started,
            self.key,
            self.digest,
            dict(self.figures),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        task = self.task
        return {
            "phase": task.phase,
            "step": task.step,
            "index": task.index,
            "attempt": task.attempt,
            "status": self.status,
            "seconds": self.seconds,
            "host": self.host,
            "reason": self.reason,
            "started": self.started,
            "key": self.key,
            "digest": self.digest,
            "figures": dict(self.figures),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Outcome:
        """Return the outcome that `to_json` wrote."""
        return cls(
            Task(Phase(plain["phase"]), plain["step"], plain["index"], plain["attempt"]),
            Status(plain["status"]),
            plain["seconds"],
            plain["host"],
            plain["reason"],
            plain["started"],
            plain["key"],
            plain["digest"],
            plain["figures"],
        )
