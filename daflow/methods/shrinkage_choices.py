"""What a filter with a shrunk covariance may choose: its target's weight, and the root of its analysis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.filters.shrinkage import ShrinkageTransform, ShrunkModes
from daflow.numerics.filters.shrinkage_roots import dynamic_root, low_rank_root
from daflow.numerics.filters.shrinkage_target import (
    MatchedScale,
    ledoit_wolf_gamma_of_products,
    rblw_gamma,
)
from daflow.ports import FloatArray


class Compared(NamedTuple):
    """An ensemble beside its target: products of anomalies, summed over all slices."""

    matched: MatchedScale
    own: FloatArray
    """(n_members, n_members) of the ensemble's with each other."""
    cross: FloatArray
    """(n_members, n_snapshots) of the ensemble's with the snapshots', these over the root of their number
    less one."""
    gram: FloatArray
    """(n_snapshots, n_snapshots) of the latter with each other."""

    def with_synthetic(self, weights: FloatArray) -> FloatArray:
        """Return products of dynamic and synthetic anomalies, as `shrinkage_roots.shrinkage_gram`.

        Parameters
        ----------
        weights : (n_synthetic, n_snapshots)
            Of the snapshots' anomalies in each synthetic member.
        """
        departures = anomalies_of(weights)
        between = self.cross @ departures.T
        return np.block([[self.own, between], [between.T, departures @ self.gram @ departures.T]])


Gamma = Callable[[Compared], float]
"""From how an ensemble compares with its target to the target's weight, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class GivenGamma:
    """A weight of the target that is the same at every step."""

    gamma: float

    def __call__(self, found: Compared) -> float:  # noqa: ARG002 - whatever the ensemble is like
        """Return it."""
        return self.gamma


def rao_blackwell(found: Compared) -> float:
    """Return `daflow.numerics.filters.shrinkage_target.rblw_gamma`."""
    return rblw_gamma(found.matched)


def ledoit_wolf(found: Compared) -> float:
    """Return `daflow.numerics.filters.shrinkage_target.ledoit_wolf_gamma`."""
    return ledoit_wolf_gamma_of_products(found.own, found.cross, found.gram)


class Rooted(NamedTuple):
    """An analysis, and what is to be told of its root."""

    transform: ShrinkageTransform
    figures: Mapping[str, float]


Root = Callable[[ShrunkModes, FloatArray], Rooted]
"""From the modes and the products of dynamic and synthetic anomalies to an analysis."""


def low_rank(found: ShrunkModes, gram: FloatArray) -> Rooted:
    """Return `daflow.numerics.filters.shrinkage_roots.low_rank_root`; the figure is the variance kept."""
    made = low_rank_root(found, gram)
    return Rooted(made.transform, {"kept": made.kept})


def dynamic(found: ShrunkModes, gram: FloatArray) -> Rooted:
    """Return `daflow.numerics.filters.shrinkage_roots.dynamic_root`; the figure: its smallest eigenvalue."""
    made = dynamic_root(found, gram)
    return Rooted(made.transform, {"smallest_eigenvalue": made.smallest_eigenvalue})
