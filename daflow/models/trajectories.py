"""Models that carry a state through time, and what is seen of it at regular times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DaflowError, DataError, ModelFailed
from daflow.models.inputs import RowsAsked, variable
from daflow.models.together import Result, alone, forecast_members
from daflow.ports import Advanced, FloatArray, MemberInput, ObservationTable

WAYS: Final = (("component", "time"), ("name", "time"))
NEAR: Final = 1e-6
"""How far from a whole number of time steps a time may lie: times come from files, with few digits."""

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
    state: tuple[str, ...]
    """The variables that make up a state, one behind the other."""


class Trajectories:
    """Predict components of a state at regular times from the state that a member starts with.

    Observations have a column ``component``. At most ``together`` members are forecast in one call.
    """

    def __init__(self, settings: TimedSettings, system: System, together: int = 1) -> None:
        self.settings, self.system, self.together = settings, system, together
        self._asked = RowsAsked(WAYS, system.name)
        self._last_way: Way | None = None

    @property
    def needed(self) -> Shapes:
        """The variables that the model takes, and the shape of each."""
        return self.system.needed

    def observables(self) -> ObservationTable:
        """Return a row for each time and observed component, times outermost; unit: none."""
        return self._table(self._times())

    def _times(self) -> FloatArray:
        settings = self.settings
        return settings.time_step * settings.every_steps * np.arange(1.0, settings.n_times + 1.0)

    def _table(self, times: FloatArray) -> ObservationTable:
        seen, n_times = self.system.components, len(times)
        return {
            "name": np.tile(seen.name, n_times),
            "kind": np.tile(seen.kind, n_times),
            "time": np.repeat(times, seen.component.size),
            "x": np.tile(seen.x, n_times),
            "y": np.tile(seen.y, n_times),
            "z": np.full(n_times * seen.component.size, np.nan),
            "component": np.tile(seen.component, n_times),
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
        return forecast_members(
            given,
            lambda one: self._read(one, self._asked.rows(self.observables, one.observations)),
            self._run,
        )

    def advance(self, given: MemberInput, start: float, stop: float) -> Advanced:
        """Return the state at ``stop`` and the predicted observations, which are in (start, stop].

        Parameters
        ----------
        given
            The state at ``start``, and the observations, at times of `observables`.
        start, stop
            A whole number of time steps apart, as are the times of observation from the start.

        Raises
        ------
        daflow.errors.DataError
            As `forecast`; or a time lies between two time steps.
        daflow.errors.ModelFailed
            As `forecast`.

        Notes
        -----
        Law: in two parts it is what it is in one, to the last bit where the scheme keeps the state itself,
        and to rounding where it keeps something else (the modes of `kuramoto_sivashinsky`).
        """
        return alone(self.advance_many([given], start, stop))

    def advance_many(
        self, given: Sequence[MemberInput], start: float, stop: float
    ) -> list[Advanced | DaflowError]:
        """Return for each member what `advance` returns, or the error that it raises."""
        way = self._way(start, stop)
        return forecast_members(
            given,
            lambda one: self._read(one, way.asked.rows(lambda: self._table(way.times), one.observations)),
            lambda starts: self._carry(starts, way),
        )

    def check_way(self, start: float, stop: float) -> None:
        """See that whole time steps lead from one time to another, and to what can be observed between.

        Raises
        ------
        daflow.errors.DataError
            They do not.
        """
        self._way(start, stop)

    def _way(self, start: float, stop: float) -> Way:
        way = self._last_way
        if way is None or (way.start, way.stop) != (start, stop):
            times = self._times()
            near = NEAR * self.settings.time_step
            seen = times[(times > start + near) & (times <= stop + near)]
            n_steps = [self._whole_steps(start, time) for time in (*seen.tolist(), stop)]
            asked = RowsAsked(WAYS, self.system.name)
            way = self._last_way = Way(start, stop, seen, tuple(n_steps), asked)
        return way

    def _whole_steps(self, start: float, stop: float) -> int:
        turns = (stop - start) / self.settings.time_step
        n_steps = round(turns)
        if n_steps < 1 or abs(turns - n_steps) > NEAR:
            raise DataError(
                f"the {self.system.name} model cannot go from one time to another in whole time steps",
                got=f"from {start:g} to {stop:g}, {turns:g} time steps",
                allowed=f"multiples of {self.settings.time_step:g}",
                do="correct cycling.start, cycling.window or the times of the observations",
            )
        return n_steps

    def _read(self, given: MemberInput, asked: NDArray[np.int64]) -> _Start:
        name = self.system.name
        return _Start(
            asked, {each: variable(given, each, shape, name) for each, shape in self.needed.items()}
        )

    def _run(self, starts: Sequence[_Start]) -> list[Result]:
        settings = self.settings
        stops = [settings.every_steps * (number + 1) for number in range(settings.n_times)]
        seen, sound, _ = self._follow(starts, stops)
        return [
            each.ravel()[start.asked]
            if whether.all()
            else self._grew(f"before observation time {whether.argmin() + 1}")
            for each, whether, start in zip(seen, sound, starts, strict=True)
        ]

    def _carry(self, starts: Sequence[_Start], way: Way) -> list[Advanced | DaflowError]:
        seen, sound, ends = self._follow(starts, way.n_steps)
        # What is seen at the end of the way as well is seen there twice: the table has it once.
        return [
            Advanced(self._variables(end), each[: len(way.times)].ravel()[start.asked])
            if whether.all()
            else self._grew(f"between the times {way.start:g} and {way.stop:g}")
            for each, whether, end, start in zip(seen, sound, ends, starts, strict=True)
        ]

    def _follow(
        self, starts: Sequence[_Start], stops: Sequence[int]
    ) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
        """Return what is seen after so many steps each, if states are finite then, and the last state."""
        variables = {name: np.stack([start.variables[name] for start in starts]) for name in self.needed}
        seen, sound, here = [], [], 0
        # One member's overflow is looked for below; it is no reason to warn of, or to stop, all of them.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            motion = self.system.start(variables)
            for there in stops:
                state = motion.carry(there - here)
                here = there
                seen.append(self.system.observe(state))
                sound.append(np.isfinite(state).all(axis=1))
        return np.stack(seen, axis=1), np.stack(sound, axis=1), state

    def _variables(self, state: FloatArray) -> Variables:
        """Return a member's state (n_state,) as its variables, new arrays."""
        shapes = [self.needed[name] for name in self.system.state]
        stops = np.cumsum([prod(shape) for shape in shapes])
        parts = np.split(state, stops[:-1])
        return {
            name: np.array(part).reshape(shape)
            for name, part, shape in zip(self.system.state, parts, shapes, strict=True)
        }

    def _grew(self, when: str) -> ModelFailed:
        return ModelFailed(
            f"the state of the {self.system.name} model grew beyond all bounds {when}",
            got=f"time_step {self.settings.time_step:g}",
            do="shorten the time step, or look at the prior of the initial state and the parameters",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """From one time to another, with the times between at which there is something to see."""

    start: float
    stop: float
    times: FloatArray
    n_steps: tuple[int, ...]
    """Time steps from the start to each of the times, and to the stop."""
    asked: RowsAsked


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
