"""What is observed at a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.obs_error.covariance import Covariance
from daflow.numerics.observations.blocks import BlockedInnovations
from daflow.ports import FloatArray, StepInput


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What is observed at a step, and how far it can be trusted."""

    values: FloatArray
    """(n_obs,)"""
    error: Covariance
    """R."""
    numbers: NDArray[np.int64] | None = None
    """(n_obs,) as `daflow.ports.Observations.numbers`."""

    def innovations(self, given: StepInput) -> BlockedInnovations:
        """Return what the members of a step predict beside what was observed, to be read by blocks."""
        return BlockedInnovations(len(given.members), self.error, given.predicted, self.values)
