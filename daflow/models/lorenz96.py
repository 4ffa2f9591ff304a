"""The model of Lorenz (1996), a ring of components: chaos in one line, the usual test of filters."""

from __future__ import annotations

from typing import Final

import numpy as np

from daflow.config.builtin_models import Lorenz96Settings
from daflow.errors import ModelFailed
from daflow.models.inputs import rows_asked, variable
from daflow.models.integrators import rk4_step
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

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        Raises
        ------
        daflow.errors.DataError
            A variable is missing or of another shape; an observation is none of `observables`.
        daflow.errors.ModelFailed
            The state is not finite, or grows beyond all bounds.
        """
        settings = self.settings
        asked = rows_asked(self.observables(), given.observations, WAYS, "lorenz96")
        state = variable(given, settings.variable, (settings.n,), "lorenz96")
        forcing: float | FloatArray
        if isinstance(settings.forcing, str):
            forcing = variable(given, settings.forcing, (), "lorenz96")
        else:
            forcing = settings.forcing
        seen = []
        for number in range(1, settings.n_times + 1):
            state = self._carry(state, forcing)
            if not np.isfinite(state).all():
                raise ModelFailed(
                    f"the Lorenz-96 state grew beyond all bounds before observation time {number}",
                    got=f"time_step {settings.time_step:g}",
                    do="shorten the time step, or look at the prior of the initial state and the forcing",
                )
            seen.append(state[:: settings.observe_every])
        return np.concatenate(seen)[asked]

    def _carry(self, state: FloatArray, forcing: float | FloatArray) -> FloatArray:
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(self.settings.every_steps):
                state = rk4_step(lambda x: lorenz96_tendency(x, forcing), state, self.settings.time_step)
        return state
