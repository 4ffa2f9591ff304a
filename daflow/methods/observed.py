"""What is observed at a step."""

from __future__ import annotations

from dataclasses import dataclass

from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What is observed at a step, and how far it can be trusted."""

    values: FloatArray
    """(n_obs,)"""
    error: Covariance
    """R."""
