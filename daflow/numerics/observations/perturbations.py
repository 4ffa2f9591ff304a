r"""Observations perturbed for each member, drawn from addressed random numbers, part by part.

Member i sees :math:`d + \sqrt{\alpha} e_i` with :math:`e_i \sim N(0, R)`. With errors that parts of the
observations share, R = D + F F', the draw is :math:`D^{1/2} z + F \xi`: no pass over z is needed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from daflow.names import Purpose
from daflow.numerics.arrays.random import NormalRows
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.obs_error.covariance import Covariance, ErrorPart
from daflow.numerics.observations.blocks import Perturb

SHARED: Final = 0
"""Sets the address of what observations share apart from that of their own errors."""


@dataclass(frozen=True, eq=False)
class Perturbations:
    """What members are to see of the observations, at any step.

    Laws: fresh for each step and member; a member's do not depend on which other members there are; drawing
    part by part gives the numbers that drawing at once gives, whatever the parts.

    Parameters
    ----------
    values : (n_obs,)
        What was observed.
    obs_error
        R.
    seed
        The run's.
    """

    values: FloatArray
    obs_error: Covariance
    seed: int

    def begin(self, step: int, members: Sequence[int], alpha: float) -> Perturb:
        """Return what perturbs one part of the observations after the other, from the first on.

        Parameters
        ----------
        step
            Which update.
        members
            The members' numbers.
        alpha
            What multiplies R, above 0.
        """
        purpose, patterns = Purpose.OBSERVATION_PERTURBATION, self.obs_error.patterns
        own = NormalRows(self.seed, purpose, [(step, member) for member in members])
        common = NormalRows(self.seed, purpose, [(step, member, SHARED) for member in members])
        shared = common.take(patterns.shape[1])

        def perturb(where: slice, part: ErrorPart) -> FloatArray:
            perturbed = part.colour(own.take(part.n_obs))
            if shared.size:
                perturbed += shared @ patterns[where].T
            perturbed *= sqrt(alpha)
            perturbed += self.values[where]
            return perturbed

        return perturb
