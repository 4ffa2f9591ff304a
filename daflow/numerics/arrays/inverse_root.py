r"""What a deterministic local analysis needs of a matrix, as sums of shifted inverses.

With M symmetric and positive semidefinite, the analysis needs :math:`f(M) v` for

.. math:: f(x) = \frac{(1 + x)^{-1/2} - 1}{x} = -\frac{1}{\sqrt{1 + x} (1 + \sqrt{1 + x})}.

The integral :math:`b^{-1/2} = \frac{2}{\pi} \int_0^\infty (b + t^2)^{-1} dt`, taken at the points of Hale,
Higham & Trefethen, gives :math:`b^{-1/2} \approx \sum_j c_j / (b + s_j)` with an error that falls by a factor
of :math:`e^{2 \pi^2 / (3 + \log \kappa)}` a point, and by partial fractions
:math:`f(x) \approx -\sum_j \frac{c_j}{1 + s_j} \frac{1}{1 + s_j + x}`: terms of one sign, nothing cancels.

References
----------
Hale, Higham & Trefethen (2008), SIAM Journal on Numerical Analysis 46, 2505, method 3.
"""

from __future__ import annotations

from math import ceil, log, pi
from typing import Final

import numpy as np
from scipy.special import ellipj, ellipkm1

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray

SMALLEST: Final = 3.0
"""Below this a smaller condition number saves no points."""

LARGEST: Final = 1e15
"""Beyond it 1 + x is x to the last digit."""


def shifted_inverses(largest: float) -> tuple[FloatArray, FloatArray]:
    """Return s and c (n_terms,) such that f(x) is the sum of c / (s + x), for x from 0 to ``largest``.

    Laws: equals the closed form to 1e-14 relative.

    Parameters
    ----------
    largest
        What no eigenvalue exceeds.

    Raises
    ------
    daflow.errors.DataError
        It is not finite, or so large that 1 + x is x.

    Notes
    -----
    Terms grow like the logarithm of ``largest``: 12 for 10, 40 for 10^6.
    """
    if not largest < LARGEST:
        raise DataError(
            "a local analysis cannot tell observation errors from zero beside the spread of the predictions",
            got=f"a ratio of variances of {largest:.3g}",
            allowed=f"below {LARGEST:g}",
            do="check the units of observation errors and predictions",
        )
    condition = max(1.0 + largest, SMALLEST)
    n_terms = ceil((log(condition) + 3.0) * 40.0 / (2.0 * pi**2))
    quarter = float(ellipkm1(1.0 / condition))
    sn, cn, dn, _ = ellipj((np.arange(n_terms) + 0.5) * quarter / n_terms, 1.0 - 1.0 / condition)
    shifts = 1.0 + np.square(sn / cn)
    weights = 2.0 * quarter / (pi * n_terms) * dn / np.square(cn)
    return shifts, -weights / shifts
