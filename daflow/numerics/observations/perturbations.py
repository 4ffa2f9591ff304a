r"""Observations perturbed for each member, drawn from addressed random numbers, part by part.

Member i sees :math:`d + \sqrt{\alpha} e_i` with :math:`e_i \sim N(0, R)`. With errors that parts of the
observations share, R = D + F F', the draw is :math:`D^{1/2} z + F \xi`: no pass over z is needed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.names import Purpose
from daflow.numerics.arrays.random import NormalRows
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.obs_error.covariance import Covariance, ErrorPart
from daflow.numerics.observations.blocks import Perturb

IntArray = NDArray[np.int64]

SHARED: Final = 0
"""Sets the address of what observations share apart from that of their own errors."""


@dataclass(frozen=True, eq=False)
class Perturbations:
    """What members are to see of the observations, at any step.

    Laws: fresh for each step and member; a member's do not depend on which other members there are; drawing
    part by part gives the numbers that drawing at once gives, whatever the parts; with errors that do not
    depend on each other, an observation's do not depend on which others are left out beside it.

    Parameters
    ----------
    values : (n_obs,)
        What was observed.
    obs_error
        R.
    seed
        The run's.
    numbers : (n_obs,)
        Which numbers of a sequence are each observation's own, rising; ``None``: 0, 1, 2 and so on.
    """

    values: FloatArray
    obs_error: Covariance
    seed: int
    numbers: IntArray | None = None

    def begin(self, step: int, members: Sequence[int], alpha: float, draw: int = 0) -> Perturb:
        """Return what perturbs one part of the observations after the other, from the first on.

        Parameters
        ----------
        step
            Which update.
        members
            The members' numbers.
        alpha
            What multiplies R, above 0.
        draw
            Which of several draws for the same step: other numbers for each.
        """
        purpose, patterns = Purpose.OBSERVATION_PERTURBATION, self.obs_error.patterns
        # Addresses of another length are other addresses, whatever is in them.
        again = (SHARED, draw) if draw else ()
        own = NormalRows(self.seed, purpose, [(step, member, *again) for member in members])
        common = NormalRows(self.seed, purpose, [(step, member, *again, SHARED) for member in members])
        shared = common.take(patterns.shape[1])

        def perturb(where: slice, part: ErrorPart) -> FloatArray:
            perturbed = part.colour(self._take(own, where))
            if shared.size:
                perturbed += shared @ patterns[where].T
            perturbed *= sqrt(alpha)
            perturbed += self.values[where]
            return perturbed

        return perturb

    def _take(self, sequences: NormalRows, where: slice) -> FloatArray:
        """Return the normals of a part (n_members, n); those before it were taken."""
        if self.numbers is None:
            return sequences.take(where.stop - where.start)
        begin = self.numbers[where.start - 1] + 1 if where.start else 0
        mine = self.numbers[where] - begin
        # What lies between is drawn and passed over: an address is a place in a sequence.
        return sequences.take(int(mine[-1]) + 1).take(mine, axis=1)
