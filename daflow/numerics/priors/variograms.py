"""Correlation models of stationary random fields.

A variogram model is named by its correlation rho; the variogram itself is variance x (1 - rho). Lengths are
**ranges**: for ``exponential``, ``gaussian`` and ``matern`` the distance at which the correlation has fallen
to 0.05 (the practical range), for ``spherical`` the distance from which it is 0. (GSLIB writes exp(-3 h)
where this writes 0.05^h: its practical range is 0.14 % longer.)

Source: Chiles & Delfiner (2012), Geostatistics, 2nd ed., 2.5; Matern's model as in Rasmussen & Williams
(2006), eq. 4.14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, hypot, isfinite, log, radians, sin
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, kve

from daflow.errors import ConfigError

FloatArray = NDArray[np.float64]

AXES: Final = ("x", "y", "z")
AT_RANGE: Final = 0.05
"""The correlation at the practical range."""
ROUGHEST, SMOOTHEST = 0.1, 20.0
"""The smoothness that ``matern`` takes; at the upper end it can hardly be told from ``gaussian``."""


def exponential(h: FloatArray) -> FloatArray:
    """Correlate by 0.05^h: continuous, nowhere smooth."""
    return np.exp(log(AT_RANGE) * h)


def gaussian(h: FloatArray) -> FloatArray:
    """Correlate by 0.05^(h^2): infinitely smooth."""
    return np.exp(log(AT_RANGE) * np.square(np.minimum(h, 1e3)))


def spherical(h: FloatArray) -> FloatArray:
    """Correlate by 1 - 1.5 h + 0.5 h^3 up to the range, by 0 beyond."""
    h = np.minimum(h, 1.0)
    return 1.0 + h * (-1.5 + 0.5 * h * h)


def matern(h: FloatArray, nu: float) -> FloatArray:
    """Correlate by 2^(1-nu) / Gamma(nu) s^nu K_nu(s), where s = h times what makes it 0.05 at h = 1.

    The smoothness nu = 1/2 is the exponential model; the field has derivatives of all orders below nu.
    """
    return _matern(np.minimum(h, 1e3) * _matern_scale(nu), nu)


def _matern(s: FloatArray, nu: float) -> FloatArray:
    positive = np.maximum(s, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        bessel = kve(nu, positive)
    # K_nu overflows so near to 0 that the correlation is 1 there.
    near = ~np.isfinite(bessel) | (s == 0.0)
    logarithm = (1.0 - nu) * log(2.0) - gammaln(nu) + nu * np.log(positive) - positive
    return np.where(near, 1.0, np.minimum(np.exp(logarithm + np.log(np.where(near, 1.0, bessel))), 1.0))


@lru_cache(maxsize=64)
def _matern_scale(nu: float) -> float:
    """Return the s at which Matern's correlation is 0.05."""
    from scipy.optimize import brentq  # noqa: PLC0415 - every process would wait for what few ask for

    return float(brentq(lambda s: float(_matern(np.array(s), nu)) - AT_RANGE, 1e-3, 1e3, xtol=1e-14))


MODELS: Final[Mapping[str, Callable[..., FloatArray]]] = MappingProxyType(
    {"exponential": exponential, "gaussian": gaussian, "spherical": spherical, "matern": matern}
)
"""The models by the names that a workflow file uses; ``matern`` takes its smoothness besides."""


@dataclass(frozen=True, slots=True)
class Variogram:
    """A correlation model with its ranges along axes of its own.

    Parameters
    ----------
    model
        A name in `MODELS`.
    ranges
        (rx, ry, rz) in the unit of the coordinates: along the major axis, across it, and along z;
        ``None`` for an axis that the field does not have. What a range is, the module says.
    angle
        Degrees from x to the major axis, counter-clockwise in the x-y plane.
    nu
        The smoothness of ``matern``, from 0.1 to 20.

    Raises
    ------
    daflow.errors.ConfigError
        A value that cannot be used, or an option that the model does not have.

    Notes
    -----
    Laws: the correlation is 1 at lag 0, never rises with distance, is 0.05 (``spherical``: 0) at the range
    along each axis, and the same for a lag and its opposite.
    """

    model: str
    ranges: tuple[float | None, float | None, float | None]
    angle: float = 0.0
    nu: float | None = None

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ConfigError("There is no variogram of that name", got=self.model, allowed=", ".join(MODELS))
        given = [length for length in self.ranges if length is not None]
        if len(self.ranges) != 3 or not given or any(not (isfinite(r) and r > 0.0) for r in given):
            allowed = "three finite numbers above 0 (x, y, z); None for an axis that the field does not have"
            raise ConfigError("A variogram has a range that is none", got=self.ranges, allowed=allowed)
        if not isfinite(self.angle):
            raise ConfigError("A variogram's angle is not finite", got=self.angle, allowed="degrees")
        if self.angle != 0.0 and None in self.ranges[:2]:
            do = "leave the angle out, or give ranges along both x and y"
            raise ConfigError("A variogram has an angle but lacks x or y", got=self.angle, do=do)
        self._check_smoothness()

    def _check_smoothness(self) -> None:
        allowed = f"{ROUGHEST} to {SMOOTHEST}"
        if self.model == "matern" and (self.nu is None or not ROUGHEST <= self.nu <= SMOOTHEST):
            raise ConfigError("A matern variogram's smoothness nu", got=self.nu, allowed=allowed)
        if self.model != "matern" and self.nu is not None:
            do = "leave it out, or choose the model matern"
            raise ConfigError(f"The variogram {self.model} has no smoothness nu", got=self.nu, do=do)

    def extent(self) -> tuple[float, float, float]:
        """Return how far along x, y and z lies the farthest point at one range; 0 along an axis without.

        Laws: the ranges themselves where nothing is turned; they change places at 90 degrees.
        """
        x, y, z = (0.0 if length is None else length for length in self.ranges)
        c, s = cos(radians(self.angle)), sin(radians(self.angle))
        return hypot(c * x, s * y), hypot(s * x, c * y), z

    def correlation(self, lags: Sequence[FloatArray | None]) -> FloatArray:
        """Return the correlation at lags.

        Parameters
        ----------
        lags
            Along x, y and z in the unit of the coordinates, arrays that broadcast together; ``None`` for
            an axis that the field does not have.

        Raises
        ------
        daflow.errors.ConfigError
            A lag along an axis without a range, or a range without a lag along its axis.
        """
        for axis, lag, length in zip(AXES, lags, self.ranges, strict=True):
            if (lag is None) != (length is None):
                lacking = "the grid has it, the variogram not" if length is None else "the grid lacks it"
                what = f"The variogram's ranges and the field's grid do not match along {axis}: {lacking}"
                do = f"give a range along {axis}" if length is None else f"set the range along {axis} to none"
                raise ConfigError(what, got=self.ranges, do=do)
        x, y, z = lags
        if self.angle != 0.0 and x is not None and y is not None:
            c, s = cos(radians(self.angle)), sin(radians(self.angle))
            x, y = c * x + s * y, c * y - s * x
        along = [lag / r for lag, r in zip((x, y, z), self.ranges, strict=True) if lag is not None and r]
        h = np.sqrt(sum((np.square(lag) for lag in along), start=np.zeros(())))
        return matern(h, self.nu) if self.nu is not None else MODELS[self.model](h)
