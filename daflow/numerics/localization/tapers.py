"""Tapers: how the weight of an observation falls with its distance, counted in lengths.

Every family is a function of z = distance / length. **What "length" means differs from family to family
and from code to code**, so each family says it here:

================  =================================  ======  ==============================================
family            weight                             reach   one length is
================  =================================  ======  ==============================================
``gaspari_cohn``  Gaspari & Cohn (1999), eq. 4.10    2       HALF the distance at which the weight reaches 0
``exponential``   exp(-z)                            inf     the distance at which the weight is 1/e
``gaussian``      exp(-z^2 / 2)                      inf     one standard deviation: weight 0.607
``step``          1, then 0                          1       the distance up to which the weight is 1
``cubic``         (1 - (z / 1.87)^3)^3               1.87    about a Gaussian's standard deviation
``beta``          (1-z)^b / (z^b + (1-z)^b)          1       the distance at which the weight reaches 0
``operational``   1, then (5 - 4 z)^2 (8 z - 7)      1.25    the distance up to which the weight is 1
================  =================================  ======  ==============================================

A Gaspari-Cohn taper that should resemble ``gaussian`` of length L has the length sqrt(10/3) L = 1.83 L.

Laws of every family: the weight lies in [0, 1], is 1 at distance 0, never rises with distance, and is 0
beyond the reach. All but ``step`` are continuous; ``gaspari_cohn``, ``gaussian``, ``cubic``, ``beta`` and
``operational`` have a continuous slope (``beta`` for an exponent above 1). ``gaspari_cohn``, ``exponential``
and ``gaussian`` give positive semidefinite matrices in one to three dimensions; the others need not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

EDGE: Final = 1e-9
"""Distances this much (in lengths) beyond an edge still count as on it: on a regular grid the neighbours to
the left and to the right of an observation must not be told apart by a rounding error."""


def gaspari_cohn(z: FloatArray) -> FloatArray:
    """Weigh by the fifth-order piecewise rational function; z is distance over HALF the support.

    Source: Gaspari & Cohn (1999), Q. J. R. Meteorol. Soc. 125, eq. 4.10.
    """
    z = np.minimum(z, 2.0)
    near = 1.0 + z * z * (-5.0 / 3.0 + z * (0.625 + z * (0.5 - 0.25 * z)))
    far = 4.0 + z * (-5.0 + z * (5.0 / 3.0 + z * (0.625 + z * (-0.5 + z / 12.0))))
    far -= 2.0 / (3.0 * np.maximum(z, 1.0))
    # The outer branch meets zero by cancellation and would end a rounding error below it.
    return np.clip(np.where(z <= 1.0, near, far), 0.0, 1.0)


def exponential(z: FloatArray) -> FloatArray:
    """Weigh by exp(-z)."""
    return np.exp(-z)


def gaussian(z: FloatArray) -> FloatArray:
    """Weigh by exp(-z^2 / 2)."""
    return np.exp(-0.5 * np.square(np.minimum(z, 1e3)))


def step(z: FloatArray) -> FloatArray:
    """Weigh by 1 up to one length, its edge included, and by 0 beyond."""
    return np.where(z <= 1.0 + EDGE, 1.0, 0.0)


def cubic(z: FloatArray) -> FloatArray:
    """Weigh by the tricube (1 - (z / 1.87)^3)^3, which resembles exp(-z^2 / 2) but ends at 1.87 lengths."""
    edge = 1.0 - (np.minimum(z, 1.87) / 1.87) ** 3
    return edge * edge * edge


def beta(z: FloatArray, exponent: float = 3.0) -> FloatArray:
    """Weigh by (1-z)^b / (z^b + (1-z)^b) with the exponent b > 0: 1/2 at half a length, 0 from one on.

    Large exponents approach a step at half a length.
    """
    z = np.minimum(z, 1.0)
    # Divided by the larger power, so that nothing overflows and 0/0 cannot come up.
    odds = (np.minimum(z, 1.0 - z) / np.maximum(z, 1.0 - z)) ** exponent
    return np.where(z <= 0.5, 1.0, odds) / (1.0 + odds)


def operational(z: FloatArray) -> FloatArray:
    """Weigh by 1 up to one length, then fall smoothly to 0 at 5/4 lengths.

    Source: Popov, Sandu, Nino-Ruiz & Evensen (2021), Tellus A 73, eq. 4.7.
    """
    z = np.clip(z, 1.0, 1.25)
    return np.clip((5.0 - 4.0 * z) ** 2 * (8.0 * z - 7.0), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class TaperFamily:
    """A family of tapers: its weight at z lengths, and the number of lengths beyond which that is 0."""

    weight: Callable[[FloatArray], FloatArray]
    reach: float


TAPERS: Final[Mapping[str, TaperFamily]] = MappingProxyType(
    {
        "gaspari_cohn": TaperFamily(gaspari_cohn, 2.0),
        "exponential": TaperFamily(exponential, np.inf),
        "gaussian": TaperFamily(gaussian, np.inf),
        "step": TaperFamily(step, 1.0),
        "cubic": TaperFamily(cubic, 1.87),
        "beta": TaperFamily(beta, 1.0),
        "operational": TaperFamily(operational, 1.25),
    }
)
"""The families by the names that a workflow file uses."""
