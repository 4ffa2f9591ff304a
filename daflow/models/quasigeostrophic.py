"""The quasi-geostrophic double gyre: an ocean basin under wind, one layer, western boundary currents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dstn

from daflow.config.quasigeostrophic import QuasigeostrophicSettings
from daflow.models.integrators import RungeKutta4
from daflow.models.trajectories import Components, System, Trajectories, Variables
from daflow.ports import FloatArray

FEW: Final = 3000
"""Up to so many grid points products with matrices take less than fast transforms (a third at 63 x 31)."""


class Quasigeostrophic(Trajectories):
    """Predict the streamfunction, or the speed of the flow, at regular times.

    ``w_t + J(psi, w) - psi_x / Ro = laplacian w / Re + F / Ro`` with the vorticity ``w = -laplacian psi``,
    ``J(psi, w) = psi_y w_x - psi_x w_y`` and the wind ``F = sin(pi (y - 1))``, on a basin 1 wide (x) and 2
    long (y); psi and w vanish at its walls (San, Staples, Wang and Iliescu 2011; Popov, Sandu, Nino-Ruiz and
    Evensen 2021). Second-order differences, Arakawa's Jacobian (1966), Poisson's equation by sine transforms,
    time by Runge and Kutta. One member after the other: a field fills the cache as it is.

    Observations have the column ``component``, row times columns plus column; ``x`` and ``y`` are places in
    the basin.

    Laws: the Jacobian gives away no energy and no enstrophy, sum(psi J) = sum(w J) = 0; mirrored in y with
    its sign changed, a state stays so; the error falls with the fourth power of the time step.
    """

    def __init__(self, settings: QuasigeostrophicSettings) -> None:
        name, shape = settings.variable, settings.shape
        points = _points(settings)
        height, width = spacings(shape)
        components = Components(
            np.full(len(points), settings.observe),
            np.array([f"{settings.observe}:{row},{column}" for row, column in points]),
            points[:, 0] * shape[1] + points[:, 1],
            width * (points[:, 1] + 1.0).astype(np.float64),
            height * (points[:, 0] + 1.0).astype(np.float64),
        )
        rows, columns = points.T

        def start(variables: Variables) -> Gyres:
            numbers = (settings.reynolds, settings.rossby)
            return Gyres(variables[name], numbers, settings.time_step)

        def observe(state: FloatArray) -> FloatArray:
            field = state.reshape(-1, *shape)
            return (field if settings.observe == "streamfunction" else speed(field))[:, rows, columns]

        super().__init__(
            settings, System("quasigeostrophic", {name: shape}, components, start, observe, (name,))
        )


def _points(settings: QuasigeostrophicSettings) -> NDArray[np.int64]:
    if settings.points is not None:
        return np.array(settings.points, dtype=np.int64)
    rows, columns = (np.arange(0, n, settings.observe_every) for n in settings.shape)
    return np.stack([grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij")], axis=1)


def spacings(shape: tuple[int, int]) -> tuple[float, float]:
    """Return how far rows, and columns, are apart: (height, width); the walls lie one further out."""
    return 2.0 / (shape[0] + 1), 1.0 / (shape[1] + 1)


def speed(psi: FloatArray) -> FloatArray:
    """Return the speed of the flow, |grad psi|, of streamfunctions (n, rows, columns); zero at the walls."""
    height, width = spacings((psi.shape[1], psi.shape[2]))
    walled = np.pad(psi, ((0, 0), (1, 1), (1, 1)))
    along_x = (walled[:, 1:-1, 2:] - walled[:, 1:-1, :-2]) / (2.0 * width)
    along_y = (walled[:, 2:, 1:-1] - walled[:, :-2, 1:-1]) / (2.0 * height)
    return np.sqrt(along_x**2 + along_y**2)


class Gyres:
    """Several members on their way, one after the other: a member's fields then stay in the cache.

    Parameters
    ----------
    state
        (n_members, rows, columns) the streamfunctions.
    numbers
        Reynolds and Rossby number.
    time_step
        Of the scheme.
    """

    def __init__(self, state: FloatArray, numbers: tuple[float, float], time_step: float) -> None:
        rows, columns = state.shape[1:]
        basin = Basin((rows, columns), *numbers)
        self._walled = np.pad(state, ((0, 0), (0, 0), (1, 1)))
        self._schemes = [
            RungeKutta4(basin.tendency, basin.stage, time_step, member.reshape(-1)) for member in self._walled
        ]

    def carry(self, n_steps: int) -> FloatArray:
        """Go so many steps on; return the streamfunctions (n_members, rows * columns)."""
        for scheme in self._schemes:
            scheme.carry(n_steps)
        return self._walled[:, :, 1:-1].reshape(len(self._walled), -1)


def sine_transform(shape: tuple[int, int]) -> Callable[[FloatArray], FloatArray]:
    """Return the orthonormal sine transform along both axes, quick for fields of a shape; its own inverse."""
    return sines_by_products(shape) if shape[0] * shape[1] <= FEW else sines_by_fft


def sines_by_fft(field: FloatArray) -> FloatArray:
    """Return the sine transform of a field by fast Fourier transforms."""
    modes: FloatArray = dstn(field, type=1, norm="ortho")
    return modes


def sines_by_products(shape: tuple[int, int]) -> Callable[[FloatArray], FloatArray]:
    """Return the sine transform of fields of a shape as products with matrices of sines."""

    def sines(n: int) -> FloatArray:
        number = np.arange(1, n + 1)
        matrix: FloatArray = np.sqrt(2.0 / (n + 1)) * np.sin(np.pi / (n + 1) * np.outer(number, number))
        return matrix

    along_y, along_x = sines(shape[0]), sines(shape[1])
    return lambda field: (along_y @ field) @ along_x


class Basin:
    """The tendency of a streamfunction, and what it works in.

    A field is kept row behind row, each with a zero at either end for the walls: neighbours along x are one
    further, those along y a row further, and every operation runs over one stretch of memory. What it makes
    of the walls is put right where it would be seen.

    Parameters
    ----------
    shape
        Rows and columns of grid points inside the basin.
    reynolds, rossby
        No unit.
    """

    def __init__(self, shape: tuple[int, int], reynolds: float, rossby: float) -> None:
        height, width = spacings(shape)
        self._shape, self._row = (shape[0], shape[1] + 2), shape[1] + 2
        n = shape[0] * self._row
        # Fields with a row of zeros below and above, one number more at either end for neighbours along x.
        self._psi, self._vorticity, self._across, self._up = np.zeros((4, n + 2 * self._row + 2))
        self.stage = self._psi[self._inside(0)]
        """(rows * (columns + 2),) the streamfunction whose tendency is sought, zero at the walls."""
        self._slopes, self._scratch = np.empty((4, n)), np.empty(n)
        y = height * np.arange(1, shape[0] + 1)
        wind = np.zeros(self._shape)
        wind[:, 1:-1] = np.sin(np.pi * (y - 1.0))[:, np.newaxis]
        self._wind = wind.ravel() / rossby
        self._curvature = 1.0 / width**2, 1.0 / height**2
        self._viscosity, self._rotation = 1.0 / reynolds, 0.5 / (width * rossby)
        self._jacobian_scale = 1.0 / (12.0 * width * height)
        in_y, in_x = (2.0 * (1.0 - np.cos(np.pi * np.arange(1, m + 1) / (m + 1))) for m in shape)
        self._inverse = 1.0 / (in_y[:, np.newaxis] / height**2 + in_x / width**2)
        self._transform = sine_transform(shape)

    def tendency(self, out: FloatArray) -> None:
        """Write dpsi/dt at ``stage`` into an array of its shape."""
        self.vorticity()
        self._find_slopes()
        self._find_jacobian(out)
        psi_x, scratch = self._slopes[0], self._scratch
        np.multiply(psi_x, self._rotation, out=psi_x)
        np.add(psi_x, self._wind, out=psi_x)
        np.subtract(psi_x, out, out=out)
        field = out.reshape(self._shape)
        field[:, 1:-1] = self.invert_laplacian(field[:, 1:-1])
        self._wall(out)
        np.multiply(self._vorticity[self._inside(0)], self._viscosity, out=scratch)
        np.subtract(out, scratch, out=out)

    def vorticity(self) -> FloatArray:
        """Return -laplacian psi of ``stage``, of its shape."""
        along_x, along_y = self._curvature
        psi, inside, scratch = self._psi, self._vorticity[self._inside(0)], self._scratch
        np.multiply(self.stage, 2.0 * (along_x + along_y), out=inside)
        for step, curvature in ((1, along_x), (self._row, along_y)):
            np.add(psi[self._inside(step)], psi[self._inside(-step)], out=scratch)
            np.multiply(scratch, curvature, out=scratch)
            np.subtract(inside, scratch, out=inside)
        self._wall(inside)
        return inside

    def jacobian(self) -> FloatArray:
        """Return J(psi, w) of ``stage``, of its shape, by Arakawa's scheme (1966, eq. 46)."""
        self.vorticity()
        self._find_slopes()
        out = np.empty(self.stage.shape)
        self._find_jacobian(out)
        self._wall(out)
        return out

    def invert_laplacian(self, field: FloatArray) -> FloatArray:
        """Return the solution of -laplacian psi = field (rows, columns), with psi zero at the walls."""
        modes = self._transform(field)
        np.multiply(modes, self._inverse, out=modes)
        return self._transform(modes)

    def _inside(self, shift: int) -> slice:
        """Return where in a field its rows stand, or their neighbours so many numbers further."""
        start = self._row + 1 + shift
        return slice(start, start + self._shape[0] * self._row)

    def _wall(self, field: FloatArray) -> None:
        field.reshape(self._shape)[:, :: self._row - 1] = 0.0

    def _find_slopes(self) -> None:
        """Find the differences of psi and w along x and y over two spacings: psi_x, psi_y, w_x, w_y."""
        slopes = iter(self._slopes)
        for field in (self._psi, self._vorticity):
            for step in (1, self._row):
                np.subtract(field[self._inside(step)], field[self._inside(-step)], out=next(slopes))

    def _find_jacobian(self, out: FloatArray) -> None:
        """Write J into an array, but for its walls, from the slopes.

        Minus the mean of three forms: psi_x w_y - psi_y w_x, and two that together are the slope along x of
        psi w_y - w psi_y less that along y of psi w_x - w psi_x.
        """
        psi_x, psi_y, vorticity_x, vorticity_y = self._slopes
        inside, scratch = self._inside(0), self._scratch
        psi, vorticity = self._psi[inside], self._vorticity[inside]
        for field, psi_slope, vorticity_slope in (
            (self._across, psi_y, vorticity_y),
            (self._up, psi_x, vorticity_x),
        ):
            flux = field[inside]
            np.multiply(psi, vorticity_slope, out=flux)
            np.multiply(vorticity, psi_slope, out=scratch)
            np.subtract(flux, scratch, out=flux)
        np.multiply(psi_y, vorticity_x, out=out)
        np.multiply(psi_x, vorticity_y, out=scratch)
        np.subtract(out, scratch, out=out)
        np.subtract(self._across[self._inside(1)], self._across[self._inside(-1)], out=scratch)
        np.subtract(out, scratch, out=out)
        np.subtract(self._up[self._inside(self._row)], self._up[self._inside(-self._row)], out=scratch)
        np.add(out, scratch, out=out)
        np.multiply(out, self._jacobian_scale, out=out)
