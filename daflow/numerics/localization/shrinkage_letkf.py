r"""The local transform filter with a shrunk forecast covariance, by synthetic members.

Each point of the state makes the analysis of `daflow.numerics.filters.shrinkage` with the observations in its
reach, :math:`w / R` in the place of :math:`1 / R`. With Y and S the predicted anomalies of the n dynamic and
the m synthetic members, in units of the observation error and over the root of their number less one, and

.. math::

    Z = (\sqrt{1 - \gamma}\, Y, \sqrt\gamma\, S), \qquad M = \sqrt{w} Z Z' \sqrt{w}, \qquad
    b = (\sqrt{1 - \gamma}\, a, \sqrt{\gamma (n - 1) / (m - 1)}\, s)

made of the point's departures a and s of both kinds of members, the gains on the observations are

.. math::

    k = \sqrt{w} (1 + M)^{-1} \sqrt{w} Z b, \qquad \kappa = \sqrt{w} f(M) \sqrt{w} Z b, \qquad
    f(x) = \frac{(1 + x)^{-1/2} - 1}{x},

so that the mean moves by k' d and the dynamic members' departures by :math:`Y' \kappa`: nothing is divided by
:math:`1 - \gamma`. The systems are those of `daflow.numerics.localization.letkf`, of n + m members.

Source: Popov, Sandu, Nino-Ruiz & Evensen (2021), Tellus A 73, 1, section 3.1 and remark 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.validation import finite_array
from daflow.numerics.filters.shrinkage import weight_of_target
from daflow.numerics.localization.cells import Cell, FloatArray, Group, IntArray, LocalizationPlan
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.letkf import letkf_factors
from daflow.numerics.localization.local_analysis import (
    HeardByAll,
    Solver,
    fastest_solver,
    heard_by_all,
    local_systems,
)
from daflow.numerics.localization.localized_update import (
    change_cells,
    checked_factor,
    checked_innovation,
    product_over_obs,
)
from daflow.numerics.obs_error.covariance import Covariance, as_covariance

WINDOW_BYTES: Final = 8 << 20
"""The synthetic members of the columns in hand."""

Synthetic = Callable[[int, int], FloatArray]
"""Columns (start, stop) of a slice -> the synthetic members there (n_synthetic, stop - start), or their
departures from anything that they share."""


class ShrinkageLetkfFactors(NamedTuple):
    """What `add_shrinkage_analysis` needs of the predictions, in its units."""

    dynamic: FloatArray
    """(n_obs, n_members) Y."""
    extended: FloatArray
    """(n_obs, n_members + n_synthetic) Z."""
    innovation: FloatArray
    """(n_obs,) d over the root of n_members - 1."""
    gamma: float
    """The weight of the target, in [0, 1]."""


def shrinkage_letkf_factors(
    predicted: ArrayLike,
    synthetic_predicted: ArrayLike,
    observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    gamma: float,
) -> ShrinkageLetkfFactors:
    """Return what the local filter needs of predictions and observations.

    Parameters
    ----------
    predicted : (n_members, n_obs)
        Of the forecast; inflated if the forecast is.
    synthetic_predicted : (n_synthetic, n_obs)
        Of the synthetic members.
    observations : (n_obs,)
    obs_error
        R: a `DiagonalCovariance`, or variances (n_obs,).
    gamma
        The weight of the target, in [0, 1].

    Raises
    ------
    daflow.errors.DataError
        Arrays that are not finite or whose shapes disagree, fewer than two members of a kind, gamma out of
        range.
    daflow.errors.CombinationError
        Errors that are not independent.
    """
    weight, covariance = weight_of_target(gamma), as_covariance(obs_error)
    dynamic, innovation = letkf_factors(predicted, observations, covariance)
    synthetic = letkf_factors(synthetic_predicted, observations, covariance).anomalies
    extended = np.hstack([np.sqrt(1.0 - weight) * dynamic, np.sqrt(weight) * synthetic])
    return ShrinkageLetkfFactors(dynamic, extended, innovation, weight)


def add_shrinkage_analysis(
    plan: LocalizationPlan,
    slab: Slab,
    synthetic: Synthetic,
    factors: ShrinkageLetkfFactors,
    solver: Solver | None = None,
) -> None:
    """Update a slice by the local transform filter with a shrunk covariance, in place.

    Parameters
    ----------
    plan, slab
        As `daflow.numerics.localization.localized_update.add_tapered_increment` has them.
    synthetic
        Gives the synthetic members of some columns; asked once for each column that hears anything.
    factors
        What `shrinkage_letkf_factors` returns.
    solver
        Who solves; ``None``: `daflow.numerics.localization.local_analysis.fastest_solver`.

    Raises
    ------
    daflow.errors.DataError
        As `daflow.numerics.localization.localized_update.add_tapered_increment`.

    Notes
    -----
    Costs 2 (2 n_members + n_synthetic) operations for each pair in the plan, and a tridiagonalization a
    point in the smaller one of two sizes: the observations that it hears, or the members of both kinds.
    Takes some tens of MiB, whatever the slice: `WINDOW_BYTES` of synthetic members at a time.

    Laws: with weights of one it is `daflow.numerics.filters.shrinkage.shrinkage_etkf` (1e-10); gamma 0 is
    `daflow.numerics.localization.letkf.add_letkf_analysis` (1e-10); equals the plain formula of each point;
    does not depend on how the points are split into slices (1e-12); what hears nothing stays as it is, bit
    for bit; permuting the members permutes the posterior; compiled or not, it is the same (1e-12).
    """
    given = _checked(plan, slab, factors)
    solver = solver or fastest_solver()
    n_members, n_synthetic = len(slab), given.extended.shape[1] - len(slab)
    groups = list(plan.groups())
    common = [heard_by_all(group, partial(_matrix_of, given)) for group in groups]
    scales = (
        np.sqrt(1.0 - given.gamma),
        np.sqrt(given.gamma * (n_members - 1) / max(n_synthetic - 1, 1)),
    )
    for window, parts in _windows(groups, plan.n_state, max(WINDOW_BYTES // (8 * n_synthetic), 1)):
        others = finite_array("synthetic", synthetic(window.start, window.stop), (n_synthetic, len(window)))
        beside = _Beside(others, window.start, scales)
        for number, part in parts:
            change = partial(_analyse, common[number], given, solver, beside)
            change_cells(slab, part, change, n_synthetic)


def _checked(plan: LocalizationPlan, slab: Slab, factors: ShrinkageLetkfFactors) -> ShrinkageLetkfFactors:
    dynamic = checked_factor("dynamic", factors.dynamic, plan, slab)
    extended, innovation = (
        np.asarray(factors.extended, np.float64),
        checked_innovation(factors.innovation, plan),
    )
    fewest = dynamic.shape[1] + 2
    if extended.ndim != 2 or len(extended) != plan.n_obs or extended.shape[1] < fewest:
        allowed = f"({plan.n_obs}, {fewest} or more)"
        raise DataError(
            "the extended ensemble does not fit the localization plan", got=extended.shape, allowed=allowed
        )
    innovation = checked_innovation(factors.innovation, plan)
    return ShrinkageLetkfFactors(dynamic, extended, innovation, weight_of_target(factors.gamma))


def _matrix_of(given: ShrinkageLetkfFactors, obs: IntArray) -> FloatArray:
    """Return what makes increments of both kinds' departures b, by what all hear in full."""
    values, vectors = np.linalg.eigh(product_over_obs(given.extended, given.extended, obs))
    root = np.sqrt(1.0 + np.maximum(values, 0.0))
    pull = product_over_obs(given.extended, given.innovation[:, np.newaxis], obs)[:, 0]
    mixed = product_over_obs(given.dynamic, given.extended, obs) @ vectors
    matrix: FloatArray = (mixed * (-1.0 / (root * (1.0 + root)))) @ vectors.T
    matrix += (vectors / root**2) @ (vectors.T @ pull)
    return matrix


def _windows(groups: list[Group], n_state: int, size: int) -> Iterator[tuple[range, list[tuple[int, Group]]]]:
    """Yield so many columns at a time, and what of each group lies there, with the group's number."""
    touched: dict[int, dict[int, list[Cell]]] = {}
    for number, group in enumerate(groups):
        for cell in group.tapered:
            for window in np.unique(cell[0] // size).tolist():
                touched.setdefault(window, {}).setdefault(number, []).append(cell)
        if group.untapered is not None:
            for window in np.unique(group.untapered[0] // size).tolist():
                touched.setdefault(window, {}).setdefault(number, [])
    for window, cells in sorted(touched.items()):
        columns = range(window * size, min((window + 1) * size, n_state))
        yield columns, [(number, _within(columns, groups[number], some)) for number, some in cells.items()]


def _within(columns: range, group: Group, tapered: list[Cell]) -> Group:
    alone = None if group.untapered is None else _part(columns, group.untapered)
    return Group([_part(columns, cell) for cell in tapered], alone)


def _part(columns: range, cell: Cell) -> Cell:
    points, obs, weights = cell
    inside = (points >= columns.start) & (points < columns.stop)
    if inside.all():
        return cell
    return points[inside], obs, None if weights is None else weights[:, inside]


@dataclass(frozen=True, slots=True, eq=False)
class _Beside:
    """The synthetic members of some columns."""

    others: FloatArray
    start: int
    scales: tuple[float, float]
    """What dynamic and synthetic departures are multiplied by."""

    def extend(self, block: FloatArray, cells: list[Cell]) -> FloatArray:
        """Return b (n_members + n_synthetic, points) of dynamic departures (n_members, points)."""
        n_members, n_points = block.shape
        extended = np.empty((n_members + len(self.others), n_points))
        np.multiply(block, self.scales[0], out=extended[:n_members])
        points = np.concatenate([cell[0] for cell in cells]) - self.start
        synthetic = extended[n_members:]
        self.others.take(points, axis=1, out=synthetic, mode="clip")
        # What all have in common does not count, but its digits do.
        synthetic -= synthetic[0].copy()
        synthetic *= self.scales[1]
        return extended


def _analyse(
    common: HeardByAll,
    given: ShrinkageLetkfFactors,
    solver: Solver,
    beside: _Beside,
    cells: list[Cell],
    block: FloatArray,
) -> None:
    extended = beside.extend(block, cells)
    # Those that hear nothing of their own come last.
    tapered = [cell for cell in cells if cell[2] is not None]
    n_tapered = sum(len(points) for points, _, _ in tapered)
    if common.matrix is not None:
        np.matmul(common.matrix, extended[:, n_tapered:], out=block[:, n_tapered:])
    parts = list(local_systems(tapered, extended, common, given.extended))
    of_mean = solver.root_gains([system for system, _ in parts])
    for (system, obs), mean_gains in zip(parts, of_mean, strict=True):
        here = block[:, system.begin : system.begin + mean_gains.shape[1]]
        np.matmul(given.dynamic.take(obs, axis=0).T, system.heard, out=here)
        here += given.innovation.take(obs) @ mean_gains
