"""The equation of Kuramoto (1978) and Sivashinsky (1977) on a ring, pseudo-spectral."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daflow.config.chaotic_models import KuramotoSivashinskySettings
from daflow.models.integrators import Etdrk4, etdrk4_weights
from daflow.models.trajectories import Components, System, Trajectories, Variables, components_of
from daflow.ports import FloatArray

ComplexArray = NDArray[np.complex128]


class KuramotoSivashinsky(Trajectories):
    """Predict u on points of the ring at regular times: ``u_t = -u u_x - u_xx - u_xxxx``.

    Fourier modes, of which the highest third take no part in the product (Orszag 1971), carried on by
    ETDRK4 (Cox and Matthews 2002; Kassam and Trefethen 2005). Observations have the column ``component``,
    the grid point; their ``x`` is its place on the ring.

    Laws: the mean is kept; a state turned along the ring stays turned, one mirrored with its sign changed
    stays so; a wave of small amplitude and wave number k grows as exp((k^2 - k^4) t); the product term keeps
    the sum of squares; the error falls with the fourth power of a time step that resolves the decay of all
    modes, and at least with the third of a longer one.
    """

    def __init__(self, settings: KuramotoSivashinskySettings) -> None:
        every, name = settings.observe_every, settings.variable
        on_grid = components_of(name, np.arange(0, settings.n, every))
        places = on_grid.x * (settings.length / settings.n)
        components = Components(on_grid.kind, on_grid.name, on_grid.component, places, on_grid.y)

        def start(variables: Variables) -> Waves:
            return Waves(variables[name], settings.length, settings.time_step)

        needed = {name: (settings.n,)}
        system = System(
            "kuramoto_sivashinsky", needed, components, start, lambda state: state[:, ::every].copy(), (name,)
        )
        super().__init__(settings, system, settings.together)


class Waves:
    """Several members on their way, as Fourier modes.

    Parameters
    ----------
    state
        (n_members, n) on the grid.
    length
        Of the ring.
    time_step
        Of the scheme.
    """

    def __init__(self, state: FloatArray, length: float, time_step: float) -> None:
        self._n = state.shape[1]
        wave = 2.0 * np.pi / length * np.arange(self._n // 2 + 1)
        growth = wave**2 - wave**4
        # u u_x = (u^2)_x / 2; what the product makes of the highest third would come back as other modes.
        self._half_slope = np.where(3 * np.arange(wave.size) < self._n, -0.5j * wave, 0.0)
        self._kept = np.where(3 * np.arange(wave.size) < self._n, 1.0, 0.0)
        modes = np.fft.rfft(state, axis=1)
        self._grid = np.empty(state.shape)
        self._scheme = Etdrk4(self.product, etdrk4_weights(growth, time_step), modes)

    def product(self, modes: ComplexArray, out: ComplexArray) -> None:
        """Write the modes of -u u_x into an array of the modes' shape."""
        np.multiply(modes, self._kept, out=out)
        grid = np.fft.irfft(out, self._n, axis=1, out=self._grid)
        np.multiply(grid, grid, out=grid)
        np.fft.rfft(grid, axis=1, out=out)
        np.multiply(out, self._half_slope, out=out)

    def carry(self, n_steps: int) -> FloatArray:
        """Go so many steps on; return the state on the grid (n_members, n)."""
        return np.fft.irfft(self._scheme.carry(n_steps), self._n, axis=1)
