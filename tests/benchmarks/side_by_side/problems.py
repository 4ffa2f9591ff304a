"""The problems that contenders are given: the same numbers to each, in the memory order each likes best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A prior ensemble and what it predicts, standard normal and independent; R = 1.

    Parameters
    ----------
    n_state, n_obs, n_members
        Its size.
    """

    n_state: int
    n_obs: int
    n_members: int

    @cached_property
    def prior(self) -> FloatArray:
        """The prior (n_members, n_state)."""
        return np.random.default_rng(1).standard_normal((self.n_members, self.n_state))

    @cached_property
    def prior_columns(self) -> FloatArray:
        """The prior (n_state, n_members), members fastest: what most peers work on."""
        return np.ascontiguousarray(self.prior.T)

    @cached_property
    def predicted(self) -> FloatArray:
        """What the members predict (n_members, n_obs)."""
        return np.random.default_rng(2).standard_normal((self.n_members, self.n_obs))

    @cached_property
    def perturbed(self) -> FloatArray:
        """The observations with each member's perturbation (n_members, n_obs)."""
        return self.values + np.random.default_rng(3).standard_normal((self.n_members, self.n_obs))

    @cached_property
    def values(self) -> FloatArray:
        """What was observed (n_obs,)."""
        return np.random.default_rng(4).standard_normal(self.n_obs)

    @cached_property
    def variances(self) -> FloatArray:
        """The diagonal of R (n_obs,)."""
        return np.ones(self.n_obs)

    @cached_property
    def buffer(self) -> FloatArray:
        """Room for a posterior (n_members, n_state), its pages touched."""
        return np.zeros((self.n_members, self.n_state))

    @cached_property
    def buffer_columns(self) -> FloatArray:
        """Room for a posterior (n_state, n_members), its pages touched."""
        return np.zeros((self.n_state, self.n_members))

    def refill(self) -> None:
        """Put the prior into `buffer`."""
        np.copyto(self.buffer, self.prior)

    def refill_columns(self) -> None:
        """Put the prior into `buffer_columns`."""
        np.copyto(self.buffer_columns, self.prior_columns)


@dataclass(frozen=True)
class Field(Problem):
    """A problem on a square grid of unit spacing, its observations scattered over it.

    Parameters
    ----------
    n_state
        A square number.
    in_reach
        How many observations lie within reach of a point, on average.
    """

    in_reach: float

    @cached_property
    def side(self) -> int:
        """How many points the grid has along a side."""
        return int(np.sqrt(self.n_state))

    @cached_property
    def reach(self) -> float:
        """How far an observation reaches: twice the length of the Gaspari-Cohn function."""
        return self.side * float(np.sqrt(self.in_reach / (np.pi * self.n_obs)))

    @cached_property
    def points(self) -> FloatArray:
        """Where the state lies (n_state, 2): x, y."""
        y, x = np.divmod(np.arange(self.n_state), self.side)
        return np.stack([x, y], axis=1).astype(np.float64)

    @cached_property
    def obs_points(self) -> FloatArray:
        """Where the observations lie (n_obs, 2): x, y."""
        return np.random.default_rng(5).uniform(0, self.side, (self.n_obs, 2))

    @cached_property
    def taper(self) -> csr_array[Any]:
        """The weights (n_state, n_obs) of the Gaspari-Cohn function, sparse."""
        from scipy.spatial import cKDTree  # noqa: PLC0415 - only here

        near = cKDTree(self.points).sparse_distance_matrix(
            cKDTree(self.obs_points), self.reach, output_type="coo_matrix"
        )
        near.data = gaspari_cohn(near.data / (self.reach / 2.0))
        near.eliminate_zeros()
        return csr_array(near)


def gaspari_cohn(r: FloatArray) -> FloatArray:
    """Return the weight at r lengths (Gaspari & Cohn, 1999, eq. 4.10)."""
    near = (((-0.25 * r + 0.5) * r + 0.625) * r - 5.0 / 3.0) * r**2 + 1.0
    r_far = np.maximum(r, 1.0)
    far = ((((r_far / 12.0 - 0.5) * r_far + 0.625) * r_far + 5.0 / 3.0) * r_far - 5.0) * r_far + 4.0
    far -= 2.0 / (3.0 * r_far)
    return np.where(r <= 1.0, near, np.where(r < 2.0, far, 0.0))
