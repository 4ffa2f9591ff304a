"""The models of Lorenz (1996): a ring of components, chaos in one line, the usual test of filters."""

from __future__ import annotations

import numpy as np

from daflow.config.builtin_models import Lorenz96Settings
from daflow.models.integrators import RungeKutta4
from daflow.models.trajectories import (
    System,
    Trajectories,
    Variables,
    along,
    components_of,
    member_fastest,
    needed_variables,
    number_or_variable,
)
from daflow.ports import FloatArray


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


class Lorenz96(Trajectories):
    """Predict components of the ring at regular times from its initial state.

    Observations have a column ``component``, which is their ``x`` as well.
    """

    def __init__(self, settings: Lorenz96Settings) -> None:
        def start(variables: Variables) -> RungeKutta4:
            state = member_fastest(variables[settings.variable])
            forcing = along(number_or_variable(settings.forcing, variables), settings.n)
            ring = Ring(len(state), settings.n, forcing)
            return RungeKutta4(ring.tendency, ring.stage, settings.time_step, state)

        every = settings.observe_every
        seen = components_of(settings.variable, np.arange(0, settings.n, every))
        needed = needed_variables({settings.variable: (settings.n,)}, settings.forcing)
        system = System(
            "lorenz96", needed, seen, start, lambda state: state[:, ::every].copy(), (settings.variable,)
        )
        super().__init__(settings, system, settings.together)


class Ring:
    """The tendency of several rings at once, and what it works in.

    Each ring stands between copies of its own ends, so that its neighbours are parts of one array.

    Parameters
    ----------
    forcing
        F: a number, or of the shape (n_members, n).

    Notes
    -----
    Law: the same bits as `lorenz96_tendency`.
    """

    def __init__(self, n_members: int, n: int, forcing: float | FloatArray) -> None:
        padded = np.empty((n + 3, n_members)).T
        self.stage = padded[:, 2:-1]
        """(n_members, n) the states whose tendency is sought."""
        self._before, self._after = padded[:, :2], padded[:, -1:]
        self._last, self._first = self.stage[:, -2:], self.stage[:, :1]
        self._ahead, self._behind, self._far_behind = padded[:, 3:], padded[:, 1:-2], padded[:, :-3]
        self._forcing = forcing

    def tendency(self, out: FloatArray) -> None:
        """Write dx/dt of ``stage`` into an array of its shape."""
        np.copyto(self._before, self._last)
        np.copyto(self._after, self._first)
        np.subtract(self._ahead, self._far_behind, out=out)
        np.multiply(out, self._behind, out=out)
        np.subtract(out, self.stage, out=out)
        np.add(out, self._forcing, out=out)
