r"""Corrections of sampling errors: correlations shrunk by how likely chance is to have made them.

All act number by number on sample correlations r and are written here as weights: the corrected covariance
is the sample's times the weight, whose sign it therefore keeps. Use them as a state-obs taper, of the
correlations of a slice with the predictions, *and* as an obs-obs taper, of the predictions among themselves:
a tapered gain over an untapered innovation covariance is unstable where members are few.

References
----------
Lee (2021), Sampling error correction in ensemble Kalman inversion (powers of correlations). Flowerdew (2015),
Tellus A 67, 25257 (signal over noise by Fisher's transform). Vishny, Morzfeld, Gwirtz, Bach, Dunbar & Hodyss
(2024), Journal of Advances in Modeling Earth Systems 16 (an overview, and
`daflow.numerics.localization.nice_correction`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array

PERFECT: Final = 1.0 - 1e8 * float(np.finfo(np.float64).eps)
"""Correlations beyond it are taken for it, as Fisher's transform of 1 is infinite."""

_NODES: Final = 96


def power_weights(correlation: ArrayLike, power: float, cutoff: float = 0.0) -> FloatArray:
    r"""Return weights :math:`|r|^\alpha`, 0 where the corrected correlation is small.

    Laws: a power of 0 is nothing; a perfect correlation keeps its weight of 1; the cutoff compares with the
    *corrected* correlation, :math:`|r|^{1 + \alpha}`.

    Parameters
    ----------
    correlation : (n, n_obs)
    power
        Alpha, 0 or more.
    cutoff
        In [0, 1).

    Raises
    ------
    ConfigError
        A power or cutoff out of range.
    """
    if not (0 <= power < np.inf and 0 <= cutoff < 1):
        raise ConfigError(
            "a correction by powers has a setting out of range",
            got=f"power {power}, cutoff {cutoff}",
            allowed="power 0 or more, cutoff from 0 to below 1",
        )
    size = _sizes(correlation)
    weights = size**power
    return np.where((size * weights > cutoff) | (cutoff == 0), weights, 0.0)


def fisher_weights(correlation: ArrayLike, n_members: int) -> FloatArray:
    r"""Return weights :math:`Q^2 / (1 + Q^2)` with the ratio Q of a correlation to its sampling error.

    The error is half the width of the interval that Fisher's transform gives,
    :math:`[\tanh(\mathrm{atanh}\, r + s) - \tanh(\mathrm{atanh}\, r - s)] / 2`, :math:`s = 1 / \sqrt{n - 3}`.

    Laws: more members never lower a weight; a perfect correlation has weight 1.

    Parameters
    ----------
    correlation : (n, n_obs)
    n_members
        4 or more.

    Raises
    ------
    CombinationError
        Three members or fewer: the transform has no variance.
    """
    deviation = fisher_deviation(n_members)
    size = np.minimum(_sizes(correlation), PERFECT)
    middle = np.arctanh(size)
    error = 0.5 * (np.tanh(middle + deviation) - np.tanh(middle - deviation))
    ratio = np.square(size / error)
    # What was perfect stays so: the clipping is for the transform alone.
    return np.where(_sizes(correlation) >= 1.0, 1.0, ratio / (1 + ratio))


def fisher_deviation(n_members: int) -> float:
    r"""Return :math:`1 / \sqrt{n - 3}`, the standard deviation of Fisher's transform of a correlation."""
    if n_members <= 3:
        raise CombinationError(
            "Fisher's transform of a correlation needs more members",
            got=f"{n_members} members",
            allowed="4 or more",
            do="use a correction by powers, or more members",
        )
    return float(1 / np.sqrt(n_members - 3))


def asymptotic_std(correlation: ArrayLike, n_members: int) -> FloatArray:
    r"""Return the standard deviation of a sample correlation, :math:`(1 - r^2) / \sqrt{n - 1}`.

    Within 15 % of the exact one from 20 members on.
    """
    _two_members(n_members)
    return np.asarray((1 - _sizes(correlation) ** 2) / np.sqrt(n_members - 1))


def fisher_std(correlation: ArrayLike, n_members: int) -> FloatArray:
    r"""Return the standard deviation of :math:`\tanh(N(\mathrm{atanh}\, r, 1 / (n - 3)))`, by quadrature.

    The limit of many draws. Cost: 96 evaluations of tanh a number. Needs four members.
    """
    deviation = fisher_deviation(n_members)
    middle = np.arctanh(np.minimum(_sizes(correlation), PERFECT))
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    first, second = np.zeros_like(middle), np.zeros_like(middle)
    centre = np.tanh(middle)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        # Departures from the centre: their squares do not cancel where the spread is small.
        departure = np.tanh(middle + deviation * node) - centre
        first += weight * departure
        second += weight * departure**2
    return np.asarray(np.sqrt(np.maximum(second - first**2, 0.0)))


def ekp_v2_std(correlation: ArrayLike, n_members: int) -> FloatArray:
    r"""Return :math:`(1 - r) / \sqrt n`, as EnsembleKalmanProcesses.jl 2.7 has it.

    It is not symmetric in r and up to nine times too large for strong negative correlations, which are then
    corrected the more. To compare with that code only.
    """
    _two_members(n_members)
    values = finite_array("correlation", correlation, (None, None))
    return np.asarray((1 - values) / np.sqrt(n_members))


CORRELATION_STDS: Final[Mapping[str, Callable[[ArrayLike, int], FloatArray]]] = MappingProxyType(
    {"asymptotic": asymptotic_std, "fisher": fisher_std, "ekp_v2": ekp_v2_std}
)
"""Standard deviations of a sample correlation (n, n_obs), by name."""


def _sizes(correlation: ArrayLike) -> FloatArray:
    sizes = np.abs(finite_array("correlation", correlation, (None, None)))
    if sizes.size and sizes.max() > 1 + 1e-12:
        raise DataError("a correlation exceeds 1", got=float(sizes.max()), allowed="[-1, 1]")
    return np.minimum(sizes, 1.0)


def _two_members(n_members: int) -> None:
    if n_members < 2:
        raise DataError("a correlation needs two members at least", got=n_members, allowed="2 or more")
