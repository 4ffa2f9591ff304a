"""Schemes that carry ordinary differential equations through time."""

from __future__ import annotations

from collections.abc import Callable

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
