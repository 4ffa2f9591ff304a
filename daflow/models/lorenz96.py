"""The model of Lorenz (1996), a ring of components: chaos in one line, the usual test of filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.builtin_models import Lorenz96Settings
from daflow.errors import ModelFailed
from daflow.models.inputs import RowsAsked, variable
from daflow.models.integrators import RungeKutta4
from daflow.models.together import Result, alone, forecast_members, stacked
from daflow.ports import FloatArray, MemberInput, ObservationTable

WAYS: Final = (("component", "time"), ("name", "time"))


def lorenz96_tendency(state: FloatArray, forcing: float | FloatArray) -> FloatArray:
    """Return dx_i/dt = (x_{i+1} - x_{i-2}) x_{i-1} - x_i + F (Lorenz 1996, eq. 1).

    Parameters
    ----------
    state
        (..., n): the ring is the last axis.
    forcing
        F: a number, or anything that broadcasts against the state.

    Notes
    -----
    Laws: turning the ring turns the tendency; the advection keeps the sum of squares: x . dx/dt =
    -x . x + F sum(x).
    """
    ahead, behind, far_behind = (np.roll(state, shift, axis=-1) for shift in (-1, 1, 2))
    return (ahead - far_behind) * behind - state + forcing


class Lorenz96:
    """Predict components of the ring at regular times from its initial state.

    Observations have a column ``component``, which is their ``x`` as well.
    """

    def __init__(self, settings: Lorenz96Settings) -> None:
        self.settings = settings
        self._asked = RowsAsked(WAYS, "lorenz96")

    def observables(self) -> ObservationTable:
        """Return a row for each time and observed component, times outermost; unit: none."""
        settings = self.settings
        observed = np.arange(0, settings.n, settings.observe_every)
        times = settings.time_step * settings.every_steps * np.arange(1, settings.n_times + 1)
        time, component = (grid.ravel() for grid in np.meshgrid(times, observed, indexing="ij"))
        nowhere = np.full(time.size, np.nan)
        return {
            "name": np.array([f"{settings.variable}:{i}" for i in component]),
            "kind": np.full(time.size, settings.variable),
            "time": time,
            "x": component.astype(np.float64),
            "y": nowhere,
            "z": nowhere,
            "component": component,
        }

    @property
    def together(self) -> int:
        """How many members one call may forecast."""
        return self.settings.together

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
        settings = self.settings
        state = variable(given, settings.variable, (settings.n,), "lorenz96")
        forcing = settings.forcing
        if isinstance(forcing, str):
            forcing = float(variable(given, forcing, (), "lorenz96"))
        return _Start(self._asked.rows(self.observables, given.observations), state, forcing)

    def _run(self, starts: Sequence[_Start]) -> list[Result]:
        runs = zip(*self._trajectories(starts), starts, strict=True)
        return [self._checked(seen, sound, start.asked) for seen, sound, start in runs]

    def _trajectories(self, starts: Sequence[_Start]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return the observed components (n_members, n_times, n), and when states were finite."""
        settings = self.settings
        state = stacked([start.state for start in starts])
        ring = Ring(len(starts), settings.n, np.array([start.forcing for start in starts]))
        scheme = RungeKutta4(ring.tendency, ring.stage, settings.time_step)
        observed = slice(None, None, settings.observe_every)
        seen, sound = [], []
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(settings.n_times):
                for _ in range(settings.every_steps):
                    scheme.step(state)
                seen.append(state[:, observed].copy())
                sound.append(np.isfinite(state).all(axis=1))
        return np.stack(seen, axis=1), np.stack(sound, axis=1)

    def _checked(self, seen: FloatArray, sound: NDArray[np.bool_], asked: NDArray[np.int64]) -> Result:
        if not sound.all():
            return ModelFailed(
                f"the Lorenz-96 state grew beyond all bounds before observation time {sound.argmin() + 1}",
                got=f"time_step {self.settings.time_step:g}",
                do="shorten the time step, or look at the prior of the initial state and the forcing",
            )
        return seen.ravel()[asked]


@dataclass(frozen=True, slots=True)
class _Start:
    """What the model takes from a member's input."""

    asked: NDArray[np.int64]
    state: FloatArray
    forcing: float


class Ring:
    """The tendency of several rings at once, and what it works in.

    Each ring stands between copies of its own ends, so that its neighbours are parts of one array.

    Parameters
    ----------
    forcing
        F of each member (n_members,).

    Notes
    -----
    Law: the same bits as `lorenz96_tendency`.
    """

    def __init__(self, n_members: int, n: int, forcing: FloatArray) -> None:
        padded = np.empty((n + 3, n_members)).T
        self.stage = padded[:, 2:-1]
        """(n_members, n) the states whose tendency is sought."""
        self._before, self._after = padded[:, :2], padded[:, -1:]
        self._last, self._first = self.stage[:, -2:], self.stage[:, :1]
        self._ahead, self._behind, self._far_behind = padded[:, 3:], padded[:, 1:-2], padded[:, :-3]
        # One number for all is quicker than one for each.
        alike = bool((forcing == forcing[0]).all())
        self._forcing = forcing[0] if alike else np.repeat(forcing[np.newaxis], n, axis=0).T

    def tendency(self, out: FloatArray) -> None:
        """Write dx/dt of ``stage`` into an array of its shape."""
        np.copyto(self._before, self._last)
        np.copyto(self._after, self._first)
        np.subtract(self._ahead, self._far_behind, out=out)
        np.multiply(out, self._behind, out=out)
        np.subtract(out, self.stage, out=out)
        np.add(out, self._forcing, out=out)
