"""Updates of a slice whose weights are found on the way, by blocks of a few hundred points, in place.

A plan says which observations points may hear at all: those in reach of a cell where distance counts too, or
all. What a `daflow.numerics.localization.weighing.Weighing` makes of each pair multiplies the plan's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from daflow.numerics.localization.cells import Cell, FloatArray, IntArray, LocalizationPlan
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.local_analysis import Solver, fastest_solver
from daflow.numerics.localization.local_systems import LocalSystem
from daflow.numerics.localization.localized_update import change_cells, checked_factor

PAIRS: Final = 1 << 15
"""Weights that are found at once: a few arrays of them stay in the cache."""
MOST_POINTS, FEWEST_POINTS = 256, 16

Weights = Callable[[IntArray, FloatArray, IntArray, FloatArray], FloatArray]
"""Points (p,) of the slice, their departures (n_members, p) from any member, observations (q,), the unit
anomalies (q, n_members) of their predictions -> weights (p, q)."""


class WeighedFactors(NamedTuple):
    """What such an update needs of a step, observations first."""

    left: FloatArray
    """(n_obs, n_members) as `daflow.numerics.localization.localized_update.add_tapered_increment`, or the
    anomalies of `daflow.numerics.localization.local_analysis.add_local_analysis`."""
    right: FloatArray
    """(n_obs, n_members) the same, or the mismatch."""
    unit: FloatArray
    """(n_obs, n_members) unit anomalies of the predictions, by
    `daflow.numerics.localization.correlation_tapers.unit_anomalies`."""


def plan_everywhere(n_state: int, n_obs: int) -> LocalizationPlan:
    """Return the plan of points that all may hear all observations."""
    one = np.array([0, 1])
    return LocalizationPlan(
        n_state,
        n_obs,
        group_starts=one,
        point_starts=one * n_state,
        points=np.arange(n_state),
        obs_starts=one * n_obs,
        obs=np.arange(n_obs),
        weight_starts=one * 0,
        weights=np.zeros(0),
    )


def points_at_once(n_obs: int) -> int:
    """Return how many points are weighed at once against so many observations."""
    return max(min(PAIRS // max(n_obs, 1), MOST_POINTS), FEWEST_POINTS)


def add_weighed_increment(
    plan: LocalizationPlan, slab: Slab, factors: WeighedFactors, weights: Weights
) -> None:
    """Add right' (weights o (left anomalies)) to a slice, in place.

    Parameters
    ----------
    plan, slab, factors
        As `daflow.numerics.localization.localized_update.add_tapered_increment` has them.
    weights
        What multiplies the plan's.

    Raises
    ------
    daflow.errors.DataError
        As `daflow.numerics.localization.localized_update.add_tapered_increment`.

    Notes
    -----
    Costs 4 n_members operations for each pair that the plan lets through, and what its weights cost. Takes
    some tens of MiB, whatever the slice: ``left`` and ``right``, and blocks of 2^15 pairs.

    Laws: weights of ones give `add_tapered_increment`; does not depend on how the points are split into
    slices (1e-12).
    """

    def change(here: FloatArray, full: FloatArray, own: FloatArray, others: FloatArray) -> None:
        heard = own @ here
        heard *= full
        here[:] = others.T @ heard

    _change_all(plan, slab, factors, weights, change)


def add_weighed_analysis(
    plan: LocalizationPlan,
    slab: Slab,
    factors: WeighedFactors,
    weights: Weights,
    solver: Solver | None = None,
) -> None:
    """Update a slice by local analyses with perturbed observations, in place.

    Parameters
    ----------
    plan, slab, factors, solver
        As `daflow.numerics.localization.local_analysis.add_local_analysis` has them.
    weights
        What multiplies the plan's, on the inverse of R: 1 / f^2 where errors grow by f.

    Raises
    ------
    daflow.errors.DataError
        As `add_weighed_increment`.

    Notes
    -----
    Costs a Cholesky factorization a point, in the smaller of two sizes: the observations that it may hear,
    or the members.

    Laws: weights of ones give `add_local_analysis`; the others are those of `add_weighed_increment`.
    """
    solves = (solver or fastest_solver()).gains

    def change(here: FloatArray, full: FloatArray, own: FloatArray, others: FloatArray) -> None:
        system = LocalSystem(own, full, here, 0, own @ here)
        solves([system])
        here[:] = others.T @ system.heard

    _change_all(plan, slab, factors, weights, change)


def add_weighed_letkf(
    plan: LocalizationPlan,
    slab: Slab,
    factors: WeighedFactors,
    weights: Weights,
    solver: Solver | None = None,
) -> None:
    """Update a slice by the local ensemble transform Kalman filter, in place.

    Parameters
    ----------
    plan, slab, solver
        As `daflow.numerics.localization.letkf.add_letkf_analysis` has them.
    factors
        Its anomalies, its innovation once for each member, and unit anomalies.
    weights
        What multiplies the plan's, on the inverse of R.

    Raises
    ------
    daflow.errors.DataError
        As `add_weighed_increment`.

    Notes
    -----
    Costs as `add_weighed_analysis`.

    Laws: weights of ones give `daflow.numerics.localization.letkf.add_letkf_analysis`; the others are those
    of `add_weighed_increment`.
    """
    solves = (solver or fastest_solver()).root_gains

    def change(here: FloatArray, full: FloatArray, own: FloatArray, others: FloatArray) -> None:
        system = LocalSystem(own, full, here, 0, own @ here)
        (of_mean,) = solves([system])
        here[:] = own.T @ system.heard
        here += others[:, 0] @ of_mean

    _change_all(plan, slab, factors, weights, change)


Change = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], None]
"""Turns departures (n_members, p) into increments by weights (q, p) and both factors (q, n_members)."""


def _change_all(
    plan: LocalizationPlan, slab: Slab, factors: WeighedFactors, weights: Weights, change: Change
) -> None:
    named = zip(factors._fields, factors, strict=True)
    rows = WeighedFactors(*(checked_factor(name, each, plan, slab) for name, each in named))
    for group in plan.groups():
        change_cells(slab, group, partial(_change_cells, rows, group.everywhere, weights, change))


def _change_cells(
    factors: WeighedFactors,
    common: IntArray,
    weights: Weights,
    change: Change,
    cells: list[Cell],
    block: FloatArray,
) -> None:
    begin = 0
    for points, of_cell, planned in cells:
        obs = of_cell if planned is None else np.concatenate([of_cell, common])
        left, right, unit = (_of(each, obs) for each in factors)
        for some in blocks(len(points), len(obs)):
            # A copy: its rows are contiguous, as solvers want them.
            here = np.ascontiguousarray(block[:, begin + some.start : begin + some.stop])
            full = np.ascontiguousarray(weights(points[some], here, obs, unit).T)
            if planned is not None:
                full[: len(of_cell)] *= planned[:, some]
            change(here, full, left, right)
            block[:, begin + some.start : begin + some.stop] = here
        begin += len(points)


def _of(rows: FloatArray, obs: IntArray) -> FloatArray:
    """Return the rows of some observations; all of them, in their order, as they are."""
    return rows if len(obs) == len(rows) and (obs[1:] > obs[:-1]).all() else rows.take(obs, axis=0)


def blocks(n_points: int, n_obs: int) -> Iterator[slice]:
    """Yield so many points in blocks that are weighed at once."""
    size = points_at_once(n_obs)
    for start in range(0, n_points, size):
        yield slice(start, min(start + size, n_points))


def slice_blocks(slab: Any, n_obs: int) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield a slice (n_members, n) in such blocks: points (p,), departures (n_members, p) from one member."""
    for some in blocks(slab.shape[1], n_obs):
        block = slab[:, some].astype(np.float64)
        block -= block[0].copy()
        yield np.arange(some.start, some.stop), block
