"""Schemes that carry ordinary differential equations through time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class Etdrk4Weights:
    """The weights of one ETDRK4 step for modes of given growth rates, each (n_modes,)."""

    whole: FloatArray
    """The growth over a step."""
    half: FloatArray
    """The growth over half a step."""
    stage: FloatArray
    first: FloatArray
    middle: FloatArray
    last: FloatArray


def etdrk4_weights(growth: FloatArray, time_step: float) -> Etdrk4Weights:
    """Return the weights of ETDRK4 (Cox and Matthews 2002, eqs. 26-29).

    Parameters
    ----------
    growth
        (n_modes,) the real growth rates of the linear part, one over the unit of time.
    time_step
        In the model's unit of time.

    Notes
    -----
    Near a rate of 0 the formulas lose all digits; means over a circle around it lose none (Kassam and
    Trefethen 2005, sec. 3).
    """
    n_points = 64
    circle = np.exp(1j * np.pi * (np.arange(n_points) + 0.5) / n_points)
    z = time_step * growth[:, np.newaxis] + circle
    exp = np.exp(z)

    def mean(values: NDArray[np.complex128]) -> FloatArray:
        real: FloatArray = values.mean(axis=1).real
        return time_step * real

    return Etdrk4Weights(
        np.exp(time_step * growth),
        np.exp(0.5 * time_step * growth),
        mean((np.exp(0.5 * z) - 1.0) / z),
        mean((-4.0 - z + exp * (4.0 - 3.0 * z + z**2)) / z**3),
        mean(2.0 * (2.0 + z + exp * (z - 2.0)) / z**3),
        mean((-4.0 - 3.0 * z - z**2 + exp * (4.0 - z)) / z**3),
    )


class Etdrk4:
    """Exponential time differencing of fourth order: the linear part exact, the rest by Runge and Kutta.

    Parameters
    ----------
    rest
        Writes what is not linear in some modes (n_members, n_modes) into a second array; the first stays.
    weights
        Of `etdrk4_weights`.
    modes
        Where to start; changed in place.

    Notes
    -----
    Laws: exact where there is no rest; the error over a fixed time falls with the fourth power of the time
    step, once the step resolves the linear part (Hochbruck and Ostermann 2005). Cost: four rests, 22 passes
    over the modes.
    """

    def __init__(
        self,
        rest: Callable[[NDArray[np.complex128], NDArray[np.complex128]], None],
        weights: Etdrk4Weights,
        modes: NDArray[np.complex128],
    ) -> None:
        self._rest, self._weights, self._modes = rest, weights, modes
        self._arrays = tuple(np.empty_like(modes) for _ in range(6))

    def carry(self, n_steps: int) -> NDArray[np.complex128]:
        """Go so many steps on; return the modes, which the next call changes."""
        for _ in range(n_steps):
            self._step()
        return self._modes

    def _step(self) -> None:
        weights, modes, rest = self._weights, self._modes, self._rest
        from_modes, from_first, from_second, first, second, half = self._arrays
        np.multiply(modes, weights.half, out=half)
        rest(modes, from_modes)
        np.multiply(from_modes, weights.stage, out=first)
        np.add(half, first, out=first)
        rest(first, from_first)
        np.multiply(from_first, weights.stage, out=second)
        np.add(half, second, out=second)
        rest(second, from_second)
        # The third stage grows out of the first one.
        np.multiply(from_second, 2.0, out=second)
        np.subtract(second, from_modes, out=second)
        np.multiply(second, weights.stage, out=second)
        np.multiply(first, weights.half, out=first)
        np.add(first, second, out=first)
        from_third = half
        rest(first, from_third)
        np.multiply(modes, weights.whole, out=modes)
        np.add(from_first, from_second, out=from_first)
        for part, weight in (
            (from_modes, weights.first),
            (from_first, weights.middle),
            (from_third, weights.last),
        ):
            np.multiply(part, weight, out=part)
            np.add(modes, part, out=modes)
