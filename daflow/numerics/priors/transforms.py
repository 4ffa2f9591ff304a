"""Transforms: the update works on transformed numbers, the model gets the numbers themselves.

An update that is linear suits variables that are near Gaussian and unbounded. A transform takes a variable
there and back. It is fitted to a prior slice first, because `NormalScore` needs the ensemble itself; the
others look only at their own parameters::

    fitted = transform.fit(prior)
    posterior = fitted.inverse(update(fitted.forward(prior)))

Laws of every transform: ``inverse(forward(x)) == x`` to rounding; both ways are monotone, member by member;
each state element is treated alone, so slices do not matter; nothing finite becomes NaN or infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri_exp

from daflow.errors import ConfigError, DataError
from daflow.numerics.priors.distributions import Triangular
from daflow.numerics.priors.normal_score import FittedNormalScore, fit_normal_score

FloatArray = NDArray[np.float64]


class FittedTransform(Protocol):
    """A transform that knows what it needs of the prior."""

    def forward(self, values: ArrayLike) -> FloatArray:
        """Return transformed values, (n_members, n) like the values.

        Raises
        ------
        daflow.errors.DataError
            A value that the transform cannot take; the first one is named.
        """
        ...

    def inverse(self, transformed: ArrayLike) -> FloatArray:
        """Return the values that belong to transformed ones, of the same shape.

        Raises
        ------
        daflow.errors.DataError
            A transformed value is not finite.
        """
        ...


class Transform(Protocol):
    """A transform of a variable."""

    def fit(self, prior: ArrayLike) -> FittedTransform:
        """Return the transform fitted to a prior slice (n_members, n)."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Leave values as they are."""

    def fit(self, prior: ArrayLike) -> Identity:  # noqa: ARG002 - nothing to learn from it
        """Return itself."""
        return self

    def forward(self, values: ArrayLike) -> FloatArray:
        """Return the values."""
        return _finite(values, "The value")

    def inverse(self, transformed: ArrayLike) -> FloatArray:
        """Return the values."""
        return _finite(transformed, "The value")


@dataclass(frozen=True, slots=True)
class Log:
    """The natural logarithm, for values above 0.

    Parameters
    ----------
    dtype
        What the values will be stored as. What `inverse` returns is above 0 and finite in that type, so
        that it can be taken forward again at the next step; a transformed value too far out for the type
        gives the nearest such number.
    """

    dtype: str = "float64"

    def __post_init__(self) -> None:
        _open_interval(0.0, np.inf, self.dtype)

    def fit(self, prior: ArrayLike) -> Log:  # noqa: ARG002 - nothing to learn from it
        """Return itself."""
        return self

    def forward(self, values: ArrayLike) -> FloatArray:
        """Return log(x)."""
        values = _finite(values, "The value under the log transform")
        _refuse(values <= 0.0, values, "The log transform takes no value like this one", "above 0")
        return np.log(values)

    def inverse(self, transformed: ArrayLike) -> FloatArray:
        """Return exp(z)."""
        z = _finite(transformed, "The logarithm")
        smallest, largest = _open_interval(0.0, np.inf, self.dtype)
        with np.errstate(over="ignore", under="ignore"):
            return np.clip(np.exp(z), smallest, largest)


@dataclass(frozen=True, slots=True)
class Logit:
    """The logarithm of the odds, log((x - lower) / (upper - x)), for values strictly between two bounds.

    Parameters
    ----------
    lower, upper
        The bounds, in the variable's unit.
    dtype
        What the values will be stored as. What `inverse` returns lies strictly between the bounds even
        after rounding to that type, so that it can be taken forward again at the next step.

    Notes
    -----
    Laws: whatever is transformed back lies strictly between the bounds; values and bounds that are shifted
    and scaled together have the same transform.
    """

    lower: float
    upper: float
    dtype: str = "float64"

    def __post_init__(self) -> None:
        if not (isfinite(self.upper - self.lower) and self.lower < self.upper):
            got = (self.lower, self.upper)
            raise ConfigError("The bounds of a logit transform", got=got, allowed="finite, lower below upper")
        _open_interval(self.lower, self.upper, self.dtype)

    def fit(self, prior: ArrayLike) -> Logit:  # noqa: ARG002 - nothing to learn from it
        """Return itself."""
        return self

    def forward(self, values: ArrayLike) -> FloatArray:
        """Return log((x - lower) / (upper - x))."""
        values = _finite(values, "The value under the logit transform")
        outside = (values <= self.lower) | (values >= self.upper)
        allowed = f"strictly between {self.lower} and {self.upper}"
        _refuse(outside, values, "The logit transform takes no value like this one", allowed)
        return np.log(values - self.lower) - np.log(self.upper - values)

    def inverse(self, transformed: ArrayLike) -> FloatArray:
        """Return lower + (upper - lower) / (1 + exp(-z))."""
        z = _finite(transformed, "The logit")
        width = self.upper - self.lower
        values = np.where(z < 0.0, self.lower + width * expit(z), self.upper - width * expit(-z))
        return np.clip(values, *_open_interval(self.lower, self.upper, self.dtype))


@dataclass(frozen=True, slots=True)
class TriangularScore:
    """The standard normal quantile of a value's place in a triangular distribution, inside its bounds.

    Parameters
    ----------
    lower, mode, upper
        Of the triangular distribution, in the variable's unit.
    dtype
        As `Logit`.

    Notes
    -----
    Laws: a triangular variable becomes standard normal; whatever is transformed back lies strictly between
    the bounds; monotone.
    """

    lower: float
    mode: float
    upper: float
    dtype: str = "float64"

    def __post_init__(self) -> None:
        Triangular(self.lower, self.mode, self.upper)
        _open_interval(self.lower, self.upper, self.dtype)

    def fit(self, prior: ArrayLike) -> TriangularScore:  # noqa: ARG002 - nothing to learn from it
        """Return itself."""
        return self

    def forward(self, values: ArrayLike) -> FloatArray:
        """Return the standard normal with as much probability below it, reckoned from the nearer bound."""
        values = _finite(values, "The value under the triangular transform")
        outside = (values <= self.lower) | (values >= self.upper)
        allowed = f"strictly between {self.lower} and {self.upper}"
        _refuse(outside, values, "The triangular transform takes no value like this one", allowed)
        width, rise, fall = self.upper - self.lower, self.mode - self.lower, self.upper - self.mode
        rising = values < self.mode
        # In logarithms: next to a bound the probability itself would be zero. Each is used on its side.
        with np.errstate(divide="ignore"):
            below = 2.0 * np.log(values - self.lower) - np.log(width) - np.log(rise)
            above = 2.0 * np.log(self.upper - values) - np.log(width) - np.log(fall)
        score = np.where(rising, ndtri_exp(np.minimum(below, 0.0)), -ndtri_exp(np.minimum(above, 0.0)))
        return np.asarray(score, np.float64)

    def inverse(self, transformed: ArrayLike) -> FloatArray:
        """Return the quantile of the triangular distribution."""
        z = _finite(transformed, "The score")
        values = Triangular(self.lower, self.mode, self.upper).from_normals(z)
        return np.clip(values, *_open_interval(self.lower, self.upper, self.dtype))


@dataclass(frozen=True, slots=True)
class NormalScore:
    """The standard normal quantile of each member's rank within the ensemble, state element by element.

    See `daflow.numerics.priors.normal_score` for the map between the members and beyond them.
    """

    def fit(self, prior: ArrayLike) -> FittedNormalScore:
        """Return the map learned from a prior slice (n_members, n), at least two members.

        Raises
        ------
        daflow.errors.DataError
            Fewer than two members, or a value that is not finite.
        """
        return fit_normal_score(prior)


TRANSFORMS: Final[Mapping[str, type[Transform]]] = MappingProxyType(
    {
        "identity": Identity,
        "log": Log,
        "logit": Logit,
        "triangular": TriangularScore,
        "normal_score": NormalScore,
    }
)
"""The transforms by the names that a workflow file uses."""


def clip(values: ArrayLike, lower: float | None = None, upper: float | None = None) -> tuple[FloatArray, int]:
    """Move values that lie outside bounds onto them, and count them.

    Parameters
    ----------
    values
        Finite numbers of any shape; they are not changed.
    lower, upper
        The bounds; ``None`` where there is none.

    Returns
    -------
    values : ndarray
        The values within the bounds, which belong to what is allowed.
    n_clipped : int
        How many had to be moved.

    Raises
    ------
    daflow.errors.ConfigError
        No bound at all, or bounds in the wrong order.
    daflow.errors.DataError
        A value is not finite.

    Notes
    -----
    Laws: what is within the bounds is untouched and not counted; clipping twice changes nothing more.
    """
    low, high = (-np.inf if lower is None else lower), (np.inf if upper is None else upper)
    if not low <= high or (lower is None and upper is None):
        raise ConfigError("The bounds to clip to", got=(lower, upper), allowed="one, or lower up to upper")
    values = _finite(values, "The value to clip")
    n_clipped = int(np.count_nonzero(values < low)) + int(np.count_nonzero(values > high))
    return np.clip(values, low, high), n_clipped


def _finite(values: ArrayLike, what: str) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    _refuse(~np.isfinite(values), values, f"{what} is not finite", "finite numbers")
    return values


def _refuse(bad: NDArray[np.bool_], values: FloatArray, what: str, allowed: str) -> None:
    """Name the first of the values that are bad, if any is."""
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise DataError(
            f"{what}: at {first} of {values.shape} (members first), {int(bad.sum())} such in all",
            got=float(values[first]),
            allowed=allowed,
            do="choose another transform for this variable, or repair its prior",
        )


def _open_interval(lower: float, upper: float, dtype: str) -> tuple[float, float]:
    """Return the smallest and the largest number of a type that lie strictly between two bounds."""
    if dtype not in {"float32", "float64"}:
        raise ConfigError("A transform's dtype", got=dtype, allowed="float32, float64")
    number: Any = np.dtype(dtype).type
    largest = float(np.finfo(dtype).max)
    low, high = number(np.clip(lower, -largest, largest)), number(np.clip(upper, -largest, largest))
    while not float(low) > lower:
        # Not the tiniest number above 0: those are flushed to 0 by some processors.
        low = np.finfo(dtype).tiny if lower == 0.0 else np.nextafter(low, number(np.inf))
    while not float(high) < upper:
        high = -np.finfo(dtype).tiny if upper == 0.0 else np.nextafter(high, number(-np.inf))
    if not low <= high:
        do = "widen the bounds or store the variable as float64"
        raise ConfigError(f"No {dtype} number lies between the bounds", got=(lower, upper), do=do)
    return float(low), float(high)
