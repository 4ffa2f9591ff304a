r"""The stochastic local analysis: each point of the state solves with the observations in its own reach.

The inverse observation-error covariance is multiplied by the taper's weights (R-localization): an observation
far from a point counts there as if its error were large. With Z the predicted anomalies in units of the
observation error, over :math:`\sqrt{n_{members} - 1}`, the gain of a point with departures a is

.. math:: k = \sqrt{w} (1 + \sqrt{w} Z Z' \sqrt{w})^{-1} \sqrt{w} Z a

and member i moves by k' (d_i - y_i). The observations are perturbed once, with the covariance R, for all
points: near and far, a member's neighbours see the same.

References
----------
Sakov & Bertino (2011), Computational Geosciences 15, 225, section 2.2: tapered anomalies and innovations.
Houtekamer & Mitchell (1998), Monthly Weather Review 126, 796. Hunt, Kostelich & Szunyogh (2007), Physica D
230, 112, section 3 (weights on the inverse of R).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib import import_module
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import CombinationError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.arrays.validation import finite_array, positive_number
from daflow.numerics.inversion.innovation import quiet_overflow, still_finite
from daflow.numerics.inversion.updates import InversionSettings, TaperedFactors
from daflow.numerics.localization.cells import Cell, FloatArray, Group, IntArray, LocalizationPlan
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.local_systems import LocalSystem
from daflow.numerics.localization.localized_update import change_cells, checked_factor, product_over_obs
from daflow.numerics.obs_error.covariance import Covariance, DiagonalCovariance, as_covariance


class Solver(Protocol):
    """Who solves local systems: `daflow.numerics.localization.local_systems`, or the same compiled."""

    def gains(self, systems: Sequence[LocalSystem]) -> None:
        """Turn what is heard into the gains of each point, in place."""
        ...

    def root_gains(self, systems: Sequence[LocalSystem]) -> list[FloatArray]:
        """Turn what is heard into the gains of the anomalies, in place; return those of the mean."""
        ...


@cache
def fastest_solver() -> Solver:
    """Return the compiled solver where numba is installed (``pip install daflow[fast]``), else numpy's.

    Numba is imported when this is first called, not before. Their results agree to rounding.
    """
    try:
        return cast("Solver", import_module("daflow.numerics.localization.compiled_systems"))
    except ImportError:
        return cast("Solver", import_module("daflow.numerics.localization.local_systems"))


def local_analysis_factors(
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    settings: InversionSettings,
) -> TaperedFactors:
    r"""Return the two factors of `add_local_analysis`, members first.

    Parameters
    ----------
    predicted, perturbed_observations : (n_members, n_obs)
    obs_error
        R: a `DiagonalCovariance`, or variances (n_obs,).
    settings
        Its alpha multiplies R. Points always solve by Cholesky, and leave nothing out.

    Raises
    ------
    daflow.errors.DataError
        Arrays that are not finite or whose shapes disagree, fewer than two members, alpha not above 0.
    daflow.errors.CombinationError
        Errors that are not independent, or an inversion that is not ``exact_cholesky``.
    """
    covariance = as_covariance(obs_error)
    _check_can_be_local(covariance, settings)
    y = ensemble_of("predicted", predicted, covariance.n_obs)
    d = finite_array("perturbed_observations", perturbed_observations, y.shape)
    scale = np.sqrt(positive_number("alpha", settings.alpha) * (len(y) - 1))
    with quiet_overflow():
        left, right = (covariance.whiten(rows) / scale for rows in (anomalies_of(y), d - y))
    return TaperedFactors(still_finite(left), still_finite(right))


def _check_can_be_local(covariance: Covariance, settings: InversionSettings) -> None:
    if not isinstance(covariance, DiagonalCovariance):
        raise CombinationError(
            "a local analysis weighs the errors of observations one by one, and these depend on each other",
            got=type(covariance).__name__,
            allowed="independent observation errors",
            do="taper the gain or the cross-covariance, or give the errors as independent",
        )
    if (
        settings.inversion != "exact_cholesky"
        or settings.truncation < 1
        or settings.obs_obs_taper is not None
    ):
        raise CombinationError(
            "a local analysis has an inversion of its own: each point's, by Cholesky, with nothing left out",
            got=f"inversion {settings.inversion}, truncation {settings.truncation}",
            allowed="inversion exact_cholesky, truncation 1, no obs-obs taper",
            do="leave these settings at their defaults, or taper the gain or the cross-covariance",
        )


def add_local_analysis(
    plan: LocalizationPlan,
    slab: Slab,
    anomalies: ArrayLike,
    mismatch: ArrayLike,
    solver: Solver | None = None,
) -> None:
    """Update a slice by local analyses with perturbed observations, in place.

    Parameters
    ----------
    plan, slab
        As `daflow.numerics.localization.localized_update.add_tapered_increment` has them.
    anomalies
        (n_obs, n_members) Z: predicted observations less their mean, over the standard deviation of the
        observation's error (errors are independent of each other) and the root of n_members - 1.
    mismatch
        (n_obs, n_members) perturbed less predicted observations, over the same. Both factors are the
        transposed ones of `local_analysis_factors`.
    solver
        Who solves; ``None``: `fastest_solver`.

    Raises
    ------
    daflow.errors.DataError
        As `daflow.numerics.localization.localized_update.add_tapered_increment`.

    Notes
    -----
    Costs 4 n_members operations for each pair in the plan, and a Cholesky factorization a point in the
    smaller one of two sizes: the observations that it hears, or the members. Takes some tens of MiB,
    whatever the slice.

    Laws: equals the plain formula of each point; does not depend on how the points are split into slices
    (1e-12); what hears nothing stays as it is, bit for bit; with weights of one it is the global update;
    compiled or not, it is the same (1e-12).
    """
    left = checked_factor("anomalies", anomalies, plan, slab)
    right = checked_factor("mismatch", mismatch, plan, slab)
    solver = solver or fastest_solver()
    for group in plan.groups():
        common = heard_by_all(group, partial(_matrix_of, left, right))
        change_cells(slab, group, partial(_analyse, common, left, right, solver))


class HeardByAll(NamedTuple):
    """What all points of a group hear in full."""

    obs: IntArray
    matrix: FloatArray | None
    """What turns departures into increments where nothing else is heard (n_members, n_members)."""


def heard_by_all(group: Group, matrix_of: Callable[[IntArray], FloatArray]) -> HeardByAll:
    """Return what the points of a group all hear, and what it tells those that hear nothing else.

    ``matrix_of`` makes of these observations what turns departures into increments.
    """
    anybody_alone = group.untapered is not None and len(group.untapered[0]) > 0
    return HeardByAll(group.everywhere, matrix_of(group.everywhere) if anybody_alone else None)


def _matrix_of(left: FloatArray, right: FloatArray, obs: IntArray) -> FloatArray:
    precision = product_over_obs(left, left, obs)
    precision[np.diag_indices_from(precision)] += 1.0
    return np.asarray(np.linalg.solve(precision, product_over_obs(left, right, obs)).T, np.float64)


def _analyse(
    common: HeardByAll,
    left: FloatArray,
    right: FloatArray,
    solver: Solver,
    cells: list[Cell],
    block: FloatArray,
) -> None:
    parts = list(local_systems(cells, block, common, left))
    solver.gains([system for system, _ in parts])
    for system, obs in parts:
        np.matmul(right.take(obs, axis=0).T, system.heard, out=system.departures)


def local_systems(
    cells: list[Cell], block: FloatArray, common: HeardByAll, left: FloatArray
) -> Iterator[tuple[LocalSystem, IntArray]]:
    """Yield what the points of each tapered cell have to solve, and the numbers of the observations.

    Points that hear but what all hear are dealt with at once, and not yielded.
    """
    begin = 0
    for points, of_cell, weights in cells:
        here = block[:, begin : begin + len(points)]
        if weights is None:
            here[:] = cast("FloatArray", common.matrix) @ here
        else:
            obs = np.concatenate([of_cell, common.obs])
            full = np.concatenate([weights, np.ones((len(common.obs), len(points)))])
            anomalies = left.take(obs, axis=0)
            yield LocalSystem(anomalies, full, block, begin, anomalies @ here), obs
        begin += len(points)
