"""The model of Lorenz (1963): convection in three numbers, the smallest that is chaotic."""

from __future__ import annotations

import numpy as np

from daflow.config.chaotic_models import Lorenz63Settings
from daflow.models.integrators import RungeKutta4
from daflow.models.trajectories import (
    Components,
    System,
    Trajectories,
    Variables,
    member_fastest,
    needed_variables,
    number_or_variable,
)
from daflow.ports import FloatArray

AXES = ("x", "y", "z")

Number = float | FloatArray


def lorenz63_tendency(state: FloatArray, sigma: Number, rho: Number, beta: Number) -> FloatArray:
    """Return the tendency of x, y and z (Lorenz 1963, eqs. 25-27).

    ``dx/dt = sigma (y - x)``, ``dy/dt = x (rho - z) - y``, ``dz/dt = x y - beta z``.

    Parameters
    ----------
    state
        (..., 3).
    sigma, rho, beta
        Numbers, or arrays (...) of the members'.

    Notes
    -----
    Laws: turned half about the z axis, the tendency turns with the state; it vanishes at the origin and, for
    rho > 1, where ``z = rho - 1`` and ``x = y = +-sqrt(beta (rho - 1))``; volumes shrink at the rate
    ``sigma + 1 + beta``.
    """
    x, y, z = np.moveaxis(state, -1, 0)
    return np.stack((sigma * (y - x), x * (rho - z) - y, x * y - beta * z), axis=-1)


class Lorenz63(Trajectories):
    """Predict x, y and z, or some of them, at regular times from their initial values.

    In the observations ``component`` is 0 for x, 1 for y and 2 for z.
    """

    def __init__(self, settings: Lorenz63Settings) -> None:
        numbers = (settings.sigma, settings.rho, settings.beta)
        name = settings.variable

        def start(variables: Variables) -> RungeKutta4:
            state = member_fastest(variables[name])
            flow = Convection(len(state), *(number_or_variable(each, variables) for each in numbers))
            return RungeKutta4(flow.tendency, flow.stage, settings.time_step, state)

        seen = np.array([AXES.index(axis) for axis in settings.observe])
        nowhere = np.full(seen.size, np.nan)
        names = np.array([f"{name}:{axis}" for axis in settings.observe])
        components = Components(np.full(seen.size, name), names, seen, nowhere, nowhere)
        needed = needed_variables({name: (3,)}, *numbers)
        system = System("lorenz63", needed, components, start, lambda state: state[:, seen], (name,))
        super().__init__(settings, system, settings.together)


class Convection:
    """The tendency of several members at once, and what it works in.

    Law: the same bits as `lorenz63_tendency`.
    """

    def __init__(self, n_members: int, sigma: Number, rho: Number, beta: Number) -> None:
        self._sigma, self._rho, self._beta = sigma, rho, beta
        self.stage = np.empty((3, n_members)).T
        """(n_members, 3) the states whose tendency is sought."""
        self._axes = tuple(self.stage.T)
        self._product = np.empty(n_members)

    def tendency(self, out: FloatArray) -> None:
        """Write the tendency of ``stage`` into an array of its shape."""
        (x, y, z), (dx, dy, dz), product = self._axes, out.T, self._product
        np.subtract(y, x, out=dx)
        np.multiply(dx, self._sigma, out=dx)
        np.subtract(self._rho, z, out=dy)
        np.multiply(dy, x, out=dy)
        np.subtract(dy, y, out=dy)
        np.multiply(x, y, out=dz)
        np.multiply(z, self._beta, out=product)
        np.subtract(dz, product, out=dz)
