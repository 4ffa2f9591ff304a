"""Scalar distributions, drawn by the quantile transform of standard normal numbers.

A distribution never draws: it maps standard normals that come from outside, so that randomness can be
addressed and the same member always gets the same value. Each is monotone (`Constant`: constant): a larger
standard normal never gives a smaller value, and the median belongs to z = 0. Probabilities near 1 are
reckoned from the other side, so both tails are equally exact; every |z| <= 38 gives a finite value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite, isnan, log
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr, ndtri_exp

from daflow.errors import ConfigError, DataError

FloatArray = NDArray[np.float64]

FARTHEST: Final = 38.0
"""No standard normal number in double precision lies farther out: the probability beyond is 0."""

_LOG_LARGEST: Final = log(np.finfo(np.float64).max)
_LOG_SMALLEST: Final = log(np.finfo(np.float64).tiny)


class Distribution(Protocol):
    """What every distribution can do."""

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return the values that belong to standard normals, of the same shape.

        Raises
        ------
        daflow.errors.DataError
            A standard normal is not finite.
        """
        ...


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution of this mean and standard deviation."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        _check_finite(self)
        _check(self.std >= 0.0, "A normal distribution's std is negative", self.std, "0 or more")

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return mean + std z."""
        return self.mean + self.std * _checked(normals)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A distribution whose natural logarithm is normal, with this mean and standard deviation."""

    mean_log: float
    std_log: float

    def __post_init__(self) -> None:
        _check_finite(self)
        what = "A log-normal distribution's std_log is negative"
        _check(self.std_log >= 0.0, what, self.std_log, "0 or more")
        spread = FARTHEST * self.std_log
        fits = self.mean_log - spread > _LOG_SMALLEST and self.mean_log + spread < _LOG_LARGEST
        allowed = f"mean_log +- {FARTHEST:.0f} std_log within {_LOG_SMALLEST:.0f} and {_LOG_LARGEST:.0f}"
        got = (self.mean_log, self.std_log)
        _check(fits, "A log-normal distribution leaves the range of numbers", got, allowed)

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return exp(mean_log + std_log z)."""
        return np.exp(self.mean_log + self.std_log * np.clip(_checked(normals), -FARTHEST, FARTHEST))


@dataclass(frozen=True, slots=True)
class Uniform:
    """A uniform distribution between two bounds."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_order(self, self.lower, self.upper)

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return the value below which a share of ndtr(z) of the interval lies."""
        z = _checked(normals)
        width = self.upper - self.lower
        return np.where(z < 0.0, self.lower + width * ndtr(z), self.upper - width * ndtr(-z))


@dataclass(frozen=True, slots=True)
class TruncatedNormal:
    """A normal distribution given that the value lies between two bounds; a bound may be infinite.

    ``mean`` and ``std`` are those of the normal distribution before it is cut.
    """

    mean: float
    std: float
    lower: float
    upper: float

    def __post_init__(self) -> None:
        finite = isfinite(self.mean) and isfinite(self.std) and not (isnan(self.lower) or isnan(self.upper))
        _check(finite, "A truncated normal distribution has a parameter that is no number", self, None)
        _check(self.std > 0.0, "A truncated normal distribution's std is not above 0", self.std, "above 0")
        _check_order(self, self.lower, self.upper)

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return the quantile, in logarithms: exact however far out in a tail the bounds lie."""
        z = _checked(normals)
        low, high = (self.lower - self.mean) / self.std, (self.upper - self.mean) / self.std
        below = np.logaddexp(log_ndtr(-z) + log_ndtr(low), log_ndtr(z) + log_ndtr(high))
        above = np.logaddexp(log_ndtr(-z) + log_ndtr(-low), log_ndtr(z) + log_ndtr(-high))
        quantile = np.where(below < above, ndtri_exp(below), -ndtri_exp(above))
        return np.clip(self.mean + self.std * quantile, self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class Triangular:
    """A distribution whose density rises linearly from ``lower`` to ``mode`` and falls to ``upper``."""

    lower: float
    mode: float
    upper: float

    def __post_init__(self) -> None:
        _check_finite(self)
        _check_order(self, self.lower, self.upper)
        inside = self.lower <= self.mode <= self.upper
        allowed = f"{self.lower} to {self.upper}"
        _check(inside, "A triangular distribution's mode is outside its bounds", self.mode, allowed)

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return the quantile, from the nearer side of the mode."""
        z = _checked(normals)
        width, rise, fall = self.upper - self.lower, self.mode - self.lower, self.upper - self.mode
        from_lower = self.lower + np.sqrt(ndtr(z) * width * rise)
        from_upper = self.upper - np.sqrt(ndtr(-z) * width * fall)
        return np.where(ndtr(z) * width < rise, from_lower, from_upper)


@dataclass(frozen=True, slots=True)
class Constant:
    """One value, for every member."""

    value: float

    def __post_init__(self) -> None:
        _check_finite(self)

    def from_normals(self, normals: ArrayLike) -> FloatArray:
        """Return the value, in the shape of the standard normals."""
        return np.full(_checked(normals).shape, self.value, dtype=np.float64)


DISTRIBUTIONS: Final[Mapping[str, type[Distribution]]] = MappingProxyType(
    {
        "normal": Normal,
        "lognormal": LogNormal,
        "uniform": Uniform,
        "truncated_normal": TruncatedNormal,
        "triangular": Triangular,
        "constant": Constant,
    }
)
"""The distributions by the names that a workflow file uses."""

_Any = Normal | LogNormal | Uniform | TruncatedNormal | Triangular | Constant


def _check(holds: bool, what: str, got: object, allowed: object) -> None:  # noqa: FBT001 - a finding
    if not holds:
        raise ConfigError(what, got=got, allowed=allowed)


def _check_finite(distribution: _Any) -> None:
    for part in fields(distribution):
        value = getattr(distribution, part.name)
        name = type(distribution).__name__
        _check(isfinite(value), f"{part.name} of the distribution {name} is not finite", value, "a number")


def _check_order(distribution: _Any, lower: float, upper: float) -> None:
    what = f"The bounds of the distribution {type(distribution).__name__} leave no room between them"
    _check(lower < upper, what, (lower, upper), "lower below upper")


def _checked(normals: ArrayLike) -> FloatArray:
    z = np.asarray(normals, dtype=np.float64)
    if not np.isfinite(z).all():
        raise DataError("A standard normal number is not finite", do="check where the numbers come from")
    return z
