"""The limits of the machine, taken in the same rounds as the contenders."""

from __future__ import annotations

from typing import Final

import numpy as np
from side_by_side.contest import Contender

GEMM: Final = "dgemm"
LARGE, SMALL = 2048, 256
"""Sizes of the matrices: a product of the small ones takes less than a case that is only run through."""


def gemm(n_operations: float) -> Contender:
    """Return how long so many operations take at the speed of one large matrix product."""
    n = LARGE if n_operations > 1e8 else SMALL
    a, b = np.random.default_rng(0).standard_normal((2, n, n))
    out = np.zeros_like(a)

    def product() -> None:
        np.matmul(a, b, out=out)

    return Contender(
        GEMM,
        product,
        scale=n_operations / (2.0 * n**3),
        note=f"{n_operations / 1e9:.3g} GFLOP at the speed of a product of {n} x {n} matrices",
    )


def global_operations(n_state: int, n_obs: int, n_members: int) -> float:
    """Return what an update without localization cannot do without: 2 Nm Ne^2 + 3 Nd Ne^2 + 7/3 Ne^3."""
    return (2.0 * n_state + 3.0 * n_obs + 7.0 / 3.0 * n_members) * n_members**2


def localized_operations(n_pairs: int, n_obs: int, n_members: int) -> float:
    """Return what a tapered update cannot do without: 4 Ne a pair in reach, and the observations' part."""
    return 4.0 * n_members * n_pairs + (3.0 * n_obs + 7.0 / 3.0 * n_members) * n_members**2
