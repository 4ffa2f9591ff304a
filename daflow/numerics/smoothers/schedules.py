r"""Schedules of ES-MDA: by how much the observation error is inflated in each of several updates.

The same data are assimilated :math:`n_{steps}` times with :math:`\alpha_l R`. For a linear model and
Gaussian errors that is one update with R if and only if :math:`\sum_l 1 / \alpha_l = 1`
(Emerick & Reynolds, 2013, Computers & Geosciences 55, 3, eq. 14); all schedules here fulfil it.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array

TOLERANCE: Final = 1e-8
"""By how much the sum of 1 / alpha may miss 1."""


def constant_alphas(n_steps: int) -> FloatArray:
    """Return n_steps alphas (n_steps,), each n_steps.

    Raises
    ------
    ConfigError
        n_steps is no whole number of at least 1.
    """
    n = _whole_number_of_steps(n_steps)
    return np.full(n, float(n))


def geometric_alphas(n_steps: int, ratio: float) -> FloatArray:
    r"""Return n_steps alphas (n_steps,), each the one before over the ratio.

    :math:`\alpha_l = q^{1-l} \sum_{k < n} q^k` (Rafiee & Reynolds, 2017, Inverse Problems 33, 115002).
    A ratio above 1 begins with small updates; a ratio of 1 gives `constant_alphas`.

    Raises
    ------
    ConfigError
        n_steps is no whole number of at least 1, the ratio is not positive, or so far from 1 that the
        alphas leave the range of floating point.
    """
    n = _whole_number_of_steps(n_steps)
    if not _is_real(ratio) or not 0 < ratio < np.inf:
        raise ConfigError("the ratio of a geometric schedule must be positive", got=ratio, allowed="above 0")
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        powers = float(ratio) ** np.arange(n)
        alphas: FloatArray = powers.sum() / powers
    if not np.isfinite(alphas).all():
        raise ConfigError(
            "the ratio of a geometric schedule is too far from 1",
            got=f"ratio {ratio} over {n} steps",
            do="use a ratio between 0.5 and 3",
        )
    return alphas


def given_alphas(alphas: ArrayLike, *, normalise: bool = False) -> FloatArray:
    """Return alphas (n_steps,) whose reciprocals sum to one.

    Parameters
    ----------
    alphas : (n_steps,)
        Positive.
    normalise
        Whether to multiply all of them by the sum of their reciprocals first.

    Raises
    ------
    ConfigError
        They are not a list of positive numbers, or their reciprocals miss 1 by more than 1e-8 and
        ``normalise`` is not set; the message gives the sum and what normalising would give.
    """
    try:
        values = finite_array("alphas", alphas, (None,))
    except DataError as error:
        raise ConfigError(error.what, got=error.got, allowed="a list of numbers above 0") from error
    if values.size == 0 or not (values > 0).all():
        raise ConfigError("alphas must be positive", got=values.tolist(), allowed="one or more, above 0")
    with np.errstate(over="ignore"):
        total = float((1 / values).sum())
        normalised = values * total
    if not np.isfinite(normalised).all():
        raise ConfigError("alphas are too small", got=values.tolist(), allowed="1 or more, as a rule")
    if normalise:
        return normalised
    if abs(total - 1) > TOLERANCE:
        raise ConfigError(
            "the reciprocals of the alphas must sum to 1: the data would count more or less than once",
            got=f"1/alpha sums to {total:.10g}",
            allowed=f"1 to within {TOLERANCE:g}",
            do=f"set normalise, or give {[float(f'{a:.12g}') for a in normalised]}",
        )
    return values.copy()


def _whole_number_of_steps(n_steps: Any) -> int:
    if not isinstance(n_steps, Integral) or isinstance(n_steps, bool) or n_steps < 1:
        raise ConfigError("the number of steps is no whole number", got=n_steps, allowed="1, 2, 3, ...")
    return int(n_steps)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
