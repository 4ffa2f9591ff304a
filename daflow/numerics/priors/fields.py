"""Stationary Gaussian random fields on regular grids, exact, by circulant embedding.

The grid is wrapped into a larger torus on which the correlation matrix is circulant, so that the Fourier
transform diagonalizes it: a field costs two FFTs and no factorization. The correlation of the samples on the
grid is the variogram's own, provided that the torus leaves no eigenvalue below 0; it is padded until it
does, and what could not be avoided is reported or refused.

Source: Dietrich & Newsam (1997), SIAM J. Sci. Comput. 18, 1088-1107; Wood & Chan (1994), J. Comput. Graph.
Stat. 3, 409-432 (padding, and the scaling that keeps the variance where eigenvalues are cut).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isfinite, prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from daflow.errors import ConfigError, DataError
from daflow.numerics.priors.variograms import AXES, Variogram

FloatArray = NDArray[np.float64]

PADDINGS: Final = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
"""The tori to try: along each axis at least so many ranges, and never less than holds every lag once."""
EXACT: Final = 1e-6
"""A torus is good enough when what has to be cut is less than this share of the variance."""
TOLERABLE: Final = 1e-3
"""What may be cut at most, where no torus is good enough."""
MAX_POINTS: Final = 2**24
"""The largest torus to try unasked, 128 MB an array; four times the smallest if that is larger."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldSpectrum:
    """All that is needed to draw fields of one grid and variogram; made by `embed`, good for any number."""

    shape: tuple[int, ...]
    """Of a field."""
    torus: tuple[int, ...]
    """The shape that the grid is embedded in: odd along every axis."""
    amplitudes: FloatArray
    """The square roots of the eigenvalues, laid out as `scipy.fft.rfftn` lays out a transform."""
    cut: float
    """The share of the variance that had to be cut; 0 where the samples are exact."""

    @property
    def n_normals(self) -> int:
        """How many standard normal numbers a field takes."""
        return prod(self.torus)

    def sample(self, normals: ArrayLike, *, mean: ArrayLike = 0.0, std: ArrayLike = 1.0) -> FloatArray:
        """Return the fields that belong to standard normals.

        Parameters
        ----------
        normals
            (n_normals,) for one field, (n_fields, n_normals) for several.
        mean, std
            Numbers, or arrays of the field's shape.

        Returns
        -------
        ndarray
            Of the field's shape, with n_fields in front if there are several.

        Raises
        ------
        daflow.errors.DataError
            Normals of another shape or not finite; a mean or std that does not fit.

        Notes
        -----
        Costs two FFTs of the torus a field.

        Laws: linear in the normals; a field does not depend on which others are drawn with it; the variance
        is std^2 everywhere; the covariance is the one that `correlation` states, times std^2.
        """
        z = np.asarray(normals, dtype=np.float64)
        if z.ndim not in {1, 2} or z.shape[-1] != self.n_normals:
            allowed = f"({self.n_normals},) or (n_fields, {self.n_normals})"
            raise DataError("The normals do not fit the field", got=z.shape, allowed=allowed)
        if not np.isfinite(z).all():
            raise DataError("A standard normal number is not finite", do="check where the numbers come from")
        centre = self._fitting("mean", mean)
        spread = self._fitting("std", std)
        if (spread < 0.0).any():
            raise DataError("A field's std is negative", got=float(spread.min()), allowed="0 or more")
        fields = np.empty((len(np.atleast_2d(z)), *self.shape))
        for field, white in zip(fields, np.atleast_2d(z), strict=True):
            spectrum = fft.rfftn(white.reshape(self.torus))
            field[...] = fft.irfftn(spectrum * self.amplitudes, s=self.torus)[self._window]
        fields = centre + spread * fields
        return fields[0] if z.ndim == 1 else fields

    def correlation(self) -> FloatArray:
        """Return the correlation of the samples at every lag on the torus.

        Element (i, j, ...) belongs to the lag of that many cells; lags below 0 count from the end, as in an
        FFT. This is exact, not an estimate.
        """
        return fft.irfftn(np.square(self.amplitudes), s=self.torus)

    @property
    def _window(self) -> tuple[slice, ...]:
        return tuple(slice(0, n) for n in self.shape)

    def _fitting(self, name: str, value: ArrayLike) -> FloatArray:
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in {(), self.shape}:
            raise DataError(f"A field's {name} does not fit", got=array.shape, allowed=f"() or {self.shape}")
        if not np.isfinite(array).all():
            raise DataError(f"A field's {name} is not finite", do="repair it")
        return array


def embed(
    shape: Sequence[int],
    spacing: Sequence[float],
    variogram: Variogram,
    axes: Sequence[str] | None = None,
    *,
    max_points: int | None = None,
) -> FieldSpectrum:
    """Prepare to draw fields on a regular grid.

    Parameters
    ----------
    shape
        Cells along each dimension of the field, one to three.
    spacing
        The distance between cell centres along each, in the unit of the variogram's ranges.
    variogram
        The correlation, with a range along every axis of the grid and no other.
    axes
        Which of ``x``, ``y``, ``z`` each dimension runs along; in this order where not given.
    max_points
        The largest torus to try, in points; `MAX_POINTS` where not given.

    Raises
    ------
    daflow.errors.ConfigError
        A grid that is none, or that does not match the variogram.
    daflow.errors.DataError
        No torus within ``max_points`` holds the variogram.

    Notes
    -----
    Costs a few FFTs of the torus. That is at least about 2^d times the grid, and more where ranges are not
    short against it: smooth models (``gaussian``, ``matern``) need some 4 to 6 ranges along each axis.

    Laws: on the grid the samples' correlation is the variogram's own to within twice ``cut``, and the
    variance is 1; turning the axes of the grid turns the field.
    """
    shape, spacing = tuple(shape), tuple(spacing)
    axes = AXES[: len(shape)] if axes is None else tuple(axes)
    _check_grid(shape, spacing, axes)
    best: FieldSpectrum | None = None
    tori = _tori(shape, spacing, variogram, axes)
    limit = max(MAX_POINTS, 4 * prod(tori[0])) if max_points is None else max_points
    for torus in tori:
        if prod(torus) > limit:
            break
        found = _on_torus(shape, torus, _lags(torus, spacing, axes), variogram)
        if best is None or found.cut < best.cut:
            best = found
        if best.cut <= EXACT:
            return best
    if best is None or best.cut > TOLERABLE:
        raise DataError(
            f"The variogram {variogram.model} with ranges {variogram.ranges} cannot be embedded around a "
            f"grid of {shape}",
            got="a torus too large" if best is None else f"{best.cut:.2%} of the variance would be cut",
            allowed=f"at most {TOLERABLE:.1%}, on at most {limit} points",
            do="shorten the ranges, choose a rougher model (exponential, spherical), or raise max_points",
        )
    return best


def _check_grid(shape: tuple[int, ...], spacing: tuple[float, ...], axes: tuple[str, ...]) -> None:
    if not 1 <= len(shape) <= 3 or any(int(n) != n or n < 1 for n in shape):
        raise ConfigError("A field's grid", got=shape, allowed="one to three whole numbers above 0")
    if len(spacing) != len(shape) or any(not (isfinite(d) and d > 0.0) for d in spacing):
        allowed = f"{len(shape)} finite numbers above 0"
        raise ConfigError("The spacing of a field's grid", got=spacing, allowed=allowed)
    if len(axes) != len(shape) or len(set(axes)) != len(axes) or not set(axes) <= set(AXES):
        allowed = f"{len(shape)} different ones of {', '.join(AXES)}"
        raise ConfigError("The axes of a field's grid", got=axes, allowed=allowed)


def _tori(
    shape: tuple[int, ...], spacing: tuple[float, ...], variogram: Variogram, axes: tuple[str, ...]
) -> list[tuple[int, ...]]:
    """Return the tori to try, the smallest first, each once."""
    smallest = [2 * n - 1 for n in shape]
    extent = variogram.extent()
    cells = [extent[AXES.index(axis)] / step for axis, step in zip(axes, spacing, strict=True)]
    tori = (
        tuple(
            1 if n == 1 else _odd_fast_length(max(n, ceil(padding * a_range)))
            for n, a_range in zip(smallest, cells, strict=True)
        )
        for padding in PADDINGS
    )
    return list(dict.fromkeys(tori))


def _odd_fast_length(n: int) -> int:
    """Return the smallest odd length from n on that an FFT is fast for.

    Odd, because on an even torus the farthest lag is its own opposite: under a rotated variogram, which
    tells x from -x, the wrapped correlation would not be symmetric.
    """
    n |= 1
    while fft.next_fast_len(n) != n:
        n += 2
    return n


def _lags(
    torus: tuple[int, ...], spacing: tuple[float, ...], axes: tuple[str, ...]
) -> list[FloatArray | None]:
    """Return the shortest lag to each point of the torus, along x, y and z."""
    lags: list[FloatArray | None] = [None, None, None]
    for dimension, (n, step, axis) in enumerate(zip(torus, spacing, axes, strict=True)):
        lag = fft.fftfreq(n, 1.0 / n) * step
        lags[AXES.index(axis)] = lag.reshape([-1 if d == dimension else 1 for d in range(len(torus))])
    return lags


def _on_torus(
    shape: tuple[int, ...], torus: tuple[int, ...], lags: list[FloatArray | None], variogram: Variogram
) -> FieldSpectrum:
    correlation = variogram.correlation(lags)
    eigenvalues = np.asarray(fft.rfftn(correlation).real, dtype=np.float64)
    kept = np.maximum(eigenvalues, 0.0)
    # Half of the spectrum is stored: the whole sum is the number at lag 0, which is an inverse transform.
    share = float(fft.irfftn(kept, s=torus)[(0,) * len(torus)])
    return FieldSpectrum(shape, torus, np.sqrt(kept / share), max(share - 1.0, 0.0))
