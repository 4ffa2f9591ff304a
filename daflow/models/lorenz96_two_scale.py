"""The two-scale model of Lorenz (1996): a ring of slow components, each driving fast ones of its own."""

from __future__ import annotations

import numpy as np

from daflow.config.chaotic_models import TwoScaleSettings
from daflow.models.integrators import RungeKutta4
from daflow.models.trajectories import (
    Components,
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

Number = float | FloatArray


def two_scale_tendency(
    state: FloatArray, n: int, forcing: Number, coupling: Number, ratios: tuple[Number, Number]
) -> FloatArray:
    """Return the tendency of n slow components X and, behind them, of J fast ones Y for each.

    ``dX_k/dt = X_{k-1} (X_{k+1} - X_{k-2}) - X_k + F - (h c / b) sum_j Y_{j,k}`` and
    ``dY_j/dt = c b Y_{j+1} (Y_{j-1} - Y_{j+2}) - c Y_j + (h c / b) X_k`` (Lorenz 1996, eqs. 2-3); all Y
    together are one ring.

    Parameters
    ----------
    state
        (..., n + n J).
    forcing, coupling, ratios
        F, h and (c, b): numbers, or arrays (..., 1) of the members'.

    Notes
    -----
    Laws: what one scale gives, the other gets: X . dX/dt + Y . dY/dt = -X . X - c Y . Y + F sum(X); without
    coupling the slow ring is Lorenz-96.
    """
    c, b = ratios
    slow, fast = state[..., :n], state[..., n:]
    sectors = fast.reshape(*fast.shape[:-1], n, -1)
    exchange = coupling * c / b
    ahead, behind, far_behind = (np.roll(slow, shift, axis=-1) for shift in (-1, 1, 2))
    d_slow = (ahead - far_behind) * behind - slow + forcing - exchange * sectors.sum(axis=-1)
    ahead, far_ahead, behind = (np.roll(fast, shift, axis=-1) for shift in (-1, -2, 1))
    driven = np.repeat(slow, sectors.shape[-1], axis=-1)
    d_fast = c * b * (behind - far_ahead) * ahead - c * fast + exchange * driven
    return np.concatenate((d_slow, d_fast), axis=-1)


class LorenzTwoScale(Trajectories):
    """Predict components of the slow ring, and of the fast one if asked, at regular times.

    Their ``component`` is counted over both rings, the slow one first; ``x`` is the place along the slow
    ring, in slow components.
    """

    def __init__(self, settings: TwoScaleSettings) -> None:
        numbers = (settings.forcing, settings.coupling, settings.time_ratio, settings.space_ratio)
        n = settings.n

        def start(variables: Variables) -> RungeKutta4:
            both = [variables[name] for name in (settings.slow, settings.fast)]
            state = member_fastest(np.concatenate(both, axis=1))
            forcing, *rest = (number_or_variable(each, variables) for each in numbers)
            scales = Scales(len(state), (n, settings.n_fast), along(forcing, n), *rest)
            return RungeKutta4(scales.tendency, scales.stage, settings.time_step, state)

        components = _components(settings)
        needed = needed_variables({settings.slow: (n,), settings.fast: (n * settings.n_fast,)}, *numbers)
        seen = components.component
        system = System(
            "lorenz96_two_scale",
            needed,
            components,
            start,
            lambda state: state[:, seen],
            (settings.slow, settings.fast),
        )
        super().__init__(settings, system, settings.together)


def _components(settings: TwoScaleSettings) -> Components:
    n, every = settings.n, settings.observe_every
    slow = components_of(settings.slow, np.arange(0, n, every))
    if settings.observe == "slow":
        return slow
    number = np.arange(0, n * settings.n_fast, every)
    fast = components_of(settings.fast, number, n)
    return Components(
        np.concatenate((slow.kind, fast.kind)),
        np.concatenate((slow.name, fast.name)),
        np.concatenate((slow.component, fast.component)),
        np.concatenate((slow.x, fast.x / settings.n_fast)),
        np.concatenate((slow.y, fast.y)),
    )


class Scales:
    """The tendency of both rings of several members at once, and what it works in.

    Law: that of `two_scale_tendency` to 1e-12; sums over fast components always in the same order.
    """

    def __init__(
        self,
        n_members: int,
        sizes: tuple[int, int],
        forcing: Number,
        coupling: Number,
        time_ratio: Number,
        space_ratio: Number,
    ) -> None:
        n, n_all = sizes[0], sizes[0] * sizes[1]
        self._n, self._forcing = n, forcing
        exchange = coupling * time_ratio / space_ratio
        self._exchange = along(exchange, n)
        self._advection, self._damping = along(time_ratio * space_ratio, n_all), along(time_ratio, n_all)
        self.stage = np.empty((n + n_all, n_members)).T
        """(n_members, n + n n_fast) the states whose tendency is sought."""
        self._slow = np.empty((n + 3, n_members)).T
        self._fast = np.empty((n_all + 3, n_members)).T
        self._sum, self._scaled = np.empty((n, n_members)).T, np.empty((n_all, n_members)).T

    def tendency(self, out: FloatArray) -> None:
        """Write the tendency of ``stage`` into an array that lies in memory as it does."""
        n = self._n
        slow, fast, sums = self.stage[:, :n], self.stage[:, n:], self._sum
        n_fast = fast.shape[1] // n
        np.copyto(sums, fast[:, ::n_fast])
        for j in range(1, n_fast):
            np.add(sums, fast[:, j::n_fast], out=sums)
        np.multiply(sums, self._exchange, out=sums)
        self._slow_ring(slow, out[:, :n])
        np.subtract(out[:, :n], sums, out=out[:, :n])
        self._fast_ring(fast, out[:, n:])
        np.multiply(slow, self._exchange, out=sums)
        # (member, slow, fast of it), whose parts lie in memory as those of the ring do.
        sectors = out[:, n:].T.reshape(n, n_fast, -1)
        np.add(sectors, sums.T[:, np.newaxis], out=sectors)

    def _slow_ring(self, slow: FloatArray, out: FloatArray) -> None:
        ring = self._slow
        np.copyto(ring[:, 2:-1], slow)
        np.copyto(ring[:, :2], slow[:, -2:])
        np.copyto(ring[:, -1:], slow[:, :1])
        np.subtract(ring[:, 3:], ring[:, :-3], out=out)
        np.multiply(out, ring[:, 1:-2], out=out)
        np.subtract(out, slow, out=out)
        np.add(out, self._forcing, out=out)

    def _fast_ring(self, fast: FloatArray, out: FloatArray) -> None:
        ring = self._fast
        np.copyto(ring[:, 1:-2], fast)
        np.copyto(ring[:, :1], fast[:, -1:])
        np.copyto(ring[:, -2:], fast[:, :2])
        np.subtract(ring[:, :-3], ring[:, 3:], out=out)
        np.multiply(out, ring[:, 2:-1], out=out)
        np.multiply(out, self._advection, out=out)
        np.multiply(fast, self._damping, out=self._scaled)
        np.subtract(out, self._scaled, out=out)
