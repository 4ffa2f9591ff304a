"""Schemes that carry ordinary differential equations through time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from daflow.ports import FloatArray

Tendency = Callable[[FloatArray], FloatArray]
"""The time derivative of a state, of the state's own shape."""


def rk4_step(tendency: Tendency, state: FloatArray, time_step: float) -> FloatArray:
    """Return the state one step later by the classical Runge-Kutta scheme (Kutta 1901).

    Parameters
    ----------
    tendency
        The time derivative; it must not depend on time.
    state
        Any shape, members on the first axis if there are several.
    time_step
        In the model's unit of time.

    Notes
    -----
    Laws: the error over a fixed time falls with the fourth power of the time step; exact for a constant
    tendency. Cost: four tendencies.
    """
    half = 0.5 * time_step
    k1 = tendency(state)
    k2 = tendency(state + half * k1)
    k3 = tendency(state + half * k2)
    k4 = tendency(state + time_step * k3)
    return state + (time_step / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


class RungeKutta4:
    """The scheme of `rk4_step`, in place: no array is made on the way.

    Parameters
    ----------
    tendency
        Writes the time derivative of what stands in ``stage`` into the array that it gets; it may overwrite
        ``stage``.
    stage
        Where each state is put whose derivative is sought: an array, or a part of a larger one of the
        tendency's.
    time_step
        In the model's unit of time.
    state
        Where to start, of the shape of ``stage``; changed in place.

    Notes
    -----
    Law: the same bits as `rk4_step`. Cost: four tendencies and 14 passes over the state.
    """

    def __init__(
        self, tendency: Callable[[FloatArray], None], stage: FloatArray, time_step: float, state: FloatArray
    ) -> None:
        self._tendency, self._stage, self._time_step, self._state = tendency, stage, time_step, state
        self._slope, self._total = np.empty_like(stage), np.empty_like(stage)

    def carry(self, n_steps: int) -> FloatArray:
        """Go so many steps on; return the state, which the next call changes."""
        for _ in range(n_steps):
            self._step()
        return self._state

    def _step(self) -> None:
        time_step, state, stage = self._time_step, self._state, self._stage
        slope, total = self._slope, self._total
        np.copyto(stage, state)
        self._tendency(total)
        np.multiply(total, 0.5 * time_step, out=stage)
        np.add(state, stage, out=stage)
        for length in (0.5 * time_step, time_step):
            self._tendency(slope)
            np.multiply(slope, length, out=stage)
            np.add(state, stage, out=stage)
            np.multiply(slope, 2.0, out=slope)
            np.add(total, slope, out=total)
        self._tendency(slope)
        np.add(total, slope, out=total)
        np.multiply(total, time_step / 6.0, out=total)
        np.add(state, total, out=state)
