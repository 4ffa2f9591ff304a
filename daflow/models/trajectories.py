"""Models that carry a state through time, and what is seen of it at regular times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from daflow.errors import ModelFailed
from daflow.models.inputs import RowsAsked, variable
from daflow.models.together import Result, alone, forecast_members
from daflow.ports import FloatArray, MemberInput, ObservationTable

WAYS: Final = (("component", "time"), ("name", "time"))

Variables = Mapping[str, FloatArray]
"""Variable name -> the members' arrays, (n_members, *shape)."""
Shapes = Mapping[str, tuple[int, ...]]
"""Variable name -> shape."""


class Motion(Protocol):
    """Several members on their way."""

    def carry(self, n_steps: int) -> FloatArray:
        """Go so many steps on and return where that is (n_members, n_state), not to be written to.

        Law: a member's way does not depend, to the last bit, on who else is on the way.
        """
        ...


class TimedSettings(Protocol):
    """What the settings of these models have in common."""

    @property
    def time_step(self) -> float:
        """Of the scheme, in the model's unit of time."""
        ...

    @property
    def every_steps(self) -> int:
        """Time steps between two times of observation."""
        ...

    @property
    def n_times(self) -> int:
        """How many times of observation there are."""
        ...


@dataclass(frozen=True, slots=True)
class Components:
    """What can be observed of a state at any one time, each (n,)."""

    kind: NDArray[np.str_]
    name: NDArray[np.str_]
    component: NDArray[np.int64]
    """A number of each one's own."""
    x: FloatArray
    y: FloatArray


@dataclass(frozen=True, slots=True)
class System:
    """A model's equations, as `Trajectories` needs them."""

    name: str
    needed: Shapes
    """The variables that make up the start and the parameters, and their shapes."""
    components: Components
    start: Callable[[Variables], Motion]
    observe: Callable[[FloatArray], FloatArray]
    """From states (n_members, n_state) to what `components` says (n_members, n), a new array."""


class Trajectories:
    """Predict components of a state at regular times from the state that a member starts with.

    Observations have a column ``component``. At most ``together`` members are forecast in one call.
    """

    def __init__(self, settings: TimedSettings, system: System, together: int = 1) -> None:
        self.settings, self.system, self.together = settings, system, together
        self._asked = RowsAsked(WAYS, system.name)

    @property
    def needed(self) -> Shapes:
        """The variables that the model takes, and the shape of each."""
        return self.system.needed

    def observables(self) -> ObservationTable:
        """Return a row for each time and observed component, times outermost; unit: none."""
        settings, seen = self.settings, self.system.components
        times = settings.time_step * settings.every_steps * np.arange(1, settings.n_times + 1)
        n_rows = settings.n_times * seen.component.size
        return {
            "name": np.tile(seen.name, settings.n_times),
            "kind": np.tile(seen.kind, settings.n_times),
            "time": np.repeat(times, seen.component.size),
            "x": np.tile(seen.x, settings.n_times),
            "y": np.tile(seen.y, settings.n_times),
            "z": np.full(n_rows, np.nan),
            "component": np.tile(seen.component, settings.n_times),
        }

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        Raises
        ------
        daflow.errors.DataError
            A variable is missing or of another shape; an observation is none of `observables`.
        daflow.errors.ModelFailed
            The state is not finite, or grows beyond all bounds.
        """
        return alone(self.forecast_many([given]))

    def forecast_many(self, given: Sequence[MemberInput]) -> list[Result]:
        """Return for each member what `forecast` returns, or the error that it raises."""
        return forecast_members(given, self._read, self._run)

    def _read(self, given: MemberInput) -> _Start:
        asked = self._asked.rows(self.observables, given.observations)
        name = self.system.name
        return _Start(
            asked, {each: variable(given, each, shape, name) for each, shape in self.needed.items()}
        )

    def _run(self, starts: Sequence[_Start]) -> list[Result]:
        settings = self.settings
        variables = {name: np.stack([start.variables[name] for start in starts]) for name in self.needed}
        seen, sound = [], []
        # One member's overflow is looked for below; it is no reason to warn of, or to stop, all of them.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            motion = self.system.start(variables)
            for _ in range(settings.n_times):
                state = motion.carry(settings.every_steps)
                seen.append(self.system.observe(state))
                sound.append(np.isfinite(state).all(axis=1))
        ways = zip(np.stack(seen, axis=1), np.stack(sound, axis=1), starts, strict=True)
        return [self._checked(each, whether, start.asked) for each, whether, start in ways]

    def _checked(self, seen: FloatArray, sound: NDArray[np.bool_], asked: NDArray[np.int64]) -> Result:
        if not sound.all():
            return ModelFailed(
                f"the state of the {self.system.name} model grew beyond all bounds before observation time "
                f"{sound.argmin() + 1}",
                got=f"time_step {self.settings.time_step:g}",
                do="shorten the time step, or look at the prior of the initial state and the parameters",
            )
        return seen.ravel()[asked]


@dataclass(frozen=True, slots=True)
class _Start:
    """What the model takes from a member's input."""

    asked: NDArray[np.int64]
    variables: Variables


def components_of(name: str, number: NDArray[np.int64], first: int = 0) -> Components:
    """Return components of a variable by their numbers, which are also where they lie along x.

    ``first`` is what the first of the variable counts as among all components.
    """
    return Components(
        np.full(number.size, name),
        np.array([f"{name}:{i}" for i in number]),
        first + number,
        number.astype(np.float64),
        np.full(number.size, np.nan),
    )


def needed_variables(
    state: Mapping[str, tuple[int, ...]], *given: float | str
) -> Mapping[str, tuple[int, ...]]:
    """Return the variables of a state and those that stand for a number, with their shapes."""
    return {**state, **{name: () for name in given if isinstance(name, str)}}


def number_or_variable(given: float | str, variables: Variables) -> float | FloatArray:
    """Return a number that is the same for all members, or the members' own (n_members,)."""
    return variables[given] if isinstance(given, str) else given


def along(values: float | FloatArray, n: int) -> float | FloatArray:
    """Return members' numbers (n_members,) repeated along a state (n_members, n), a single number as it is.

    Members lie next to each other in memory, as in states that `member_fastest` returns: what has the
    layout of the state is combined with it in one stretch.
    """
    return np.repeat(values[np.newaxis], n, axis=0).T if isinstance(values, np.ndarray) else values


def member_fastest(states: FloatArray) -> FloatArray:
    """Return a copy of states (n_members, n) in which members lie next to each other in memory.

    An operation on a part of each state then runs over one stretch of memory, however short the part.
    """
    return np.array(states, order="F")
