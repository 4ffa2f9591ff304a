r"""The local ensemble transform Kalman filter: deterministic local analyses of each point of the state.

With Z the predicted anomalies of the observations in reach of a point, in units of the observation error
and :math:`\sqrt{n_{members} - 1}`, w the weights of R-localization and d the innovation of the mean, the
analysis is :math:`\bar x + a' (P Z' w d + P^{1/2})` with :math:`P = (1 + Z' w Z)^{-1}` and its symmetric
root. Here both are brought to gains on the observations,

.. math::

    k = \sqrt{w} (1 + M)^{-1} \sqrt{w} Z a, \qquad \kappa = \sqrt{w} f(M) \sqrt{w} Z a, \qquad
    M = \sqrt{w} Z Z' \sqrt{w}, \quad f(x) = \frac{(1 + x)^{-1/2} - 1}{x},

so that the mean moves by k' d and the departures a by :math:`Z' \kappa`: nothing of size n_members^2 is
formed for a point that hears fewer observations than there are members, and no eigenvectors are needed for
the product of f(M) with one vector (`daflow.numerics.arrays.inverse_root`).

References
----------
Hunt, Kostelich & Szunyogh (2007), Physica D 230, 112, section 2.3 and 3.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import CombinationError
from daflow.numerics.arrays.ensembles import checked_members
from daflow.numerics.inversion.innovation import quiet_overflow, still_finite
from daflow.numerics.localization.cells import Cell, FloatArray, IntArray, LocalizationPlan
from daflow.numerics.localization.gathering import Slab
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
from daflow.numerics.obs_error.covariance import Covariance, DiagonalCovariance, as_covariance
from daflow.numerics.observations.blocks import BlockedInnovations, innovations_of_arrays


class LetkfFactors(NamedTuple):
    """What `add_letkf_analysis` needs of the predictions: both in its unit, which is easily got wrong."""

    anomalies: FloatArray
    """(n_obs, n_members)"""
    innovation: FloatArray
    """(n_obs,)"""


def letkf_factors(
    predicted: ArrayLike, observations: ArrayLike, obs_error: Covariance | ArrayLike
) -> LetkfFactors:
    """Return what the local filter needs of predictions and observations.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    observations : (n_obs,)
    obs_error
        R: a `DiagonalCovariance`, or variances (n_obs,).

    Raises
    ------
    daflow.errors.DataError
        Arrays that are not finite or whose shapes disagree, or fewer than two members.
    daflow.errors.CombinationError
        Errors that are not independent.
    """
    covariance = as_covariance(obs_error)
    return letkf_factors_by_blocks(innovations_of_arrays(predicted, observations, covariance))


def letkf_factors_by_blocks(source: BlockedInnovations) -> LetkfFactors:
    """Return `letkf_factors` of observations that are read by blocks; only what it returns is as large."""
    if not isinstance(source.obs_error, DiagonalCovariance):
        raise CombinationError(
            "a local filter weighs the errors of observations one by one, and these depend on each other",
            got=type(source.obs_error).__name__,
            allowed="independent observation errors",
            do="give the errors as independent, or use a filter without localization",
        )
    n_members = checked_members(source.n_members)
    anomalies, innovation = np.empty((source.n_obs, n_members)), np.empty(source.n_obs)
    with quiet_overflow():
        for where, rows in source.whitened():
            anomalies[where], innovation[where] = rows[:-1].T, rows[-1]
        anomalies /= np.sqrt(n_members - 1)
        innovation /= np.sqrt(n_members - 1)
    return LetkfFactors(still_finite(anomalies), still_finite(innovation))


def add_letkf_analysis(
    plan: LocalizationPlan,
    slab: Slab,
    anomalies: ArrayLike,
    innovation: ArrayLike,
    solver: Solver | None = None,
) -> None:
    """Update a slice by the local ensemble transform Kalman filter, in place.

    Parameters
    ----------
    plan, slab
        As `daflow.numerics.localization.localized_update.add_tapered_increment` has them.
    anomalies
        (n_obs, n_members) Z: predicted observations less their mean, over the standard deviation of the
        observation's error (errors are independent of each other) and the root of n_members - 1.
    innovation
        (n_obs,) the observations less the mean of their predictions, over the same. Both are what
        `letkf_factors` returns.
    solver
        Who solves; ``None``: `daflow.numerics.localization.local_analysis.fastest_solver`.

    Raises
    ------
    daflow.errors.DataError
        As `daflow.numerics.localization.localized_update.add_tapered_increment`.

    Notes
    -----
    Costs 4 n_members operations for each pair in the plan, and a tridiagonalization a point in the smaller
    one of two sizes: the observations that it hears, or the members. Takes some tens of MiB, whatever the
    slice.

    Laws: equals the plain formula of each point; does not depend on how the points are split into slices
    (1e-12); what hears nothing stays as it is, bit for bit; with weights of one it is the global transform
    filter; its mean is that of the stochastic analysis without perturbations; compiled or not, it is the
    same (1e-12).
    """
    left = checked_factor("anomalies", anomalies, plan, slab)
    right = checked_innovation(innovation, plan)
    solver = solver or fastest_solver()
    for group in plan.groups():
        common = heard_by_all(group, partial(_matrix_of, left, right))
        change_cells(slab, group, partial(_analyse, common, left, right, solver))


def _matrix_of(left: FloatArray, right: FloatArray, obs: IntArray) -> FloatArray:
    values, vectors = np.linalg.eigh(product_over_obs(left, left, obs))
    root = np.sqrt(1.0 + np.maximum(values, 0.0))
    pull = product_over_obs(left, right[:, np.newaxis], obs)[:, 0]
    matrix: FloatArray = (vectors * (1.0 / root - 1.0)) @ vectors.T
    matrix += (vectors / root**2) @ (vectors.T @ pull)
    return matrix


def _analyse(
    common: HeardByAll,
    left: FloatArray,
    right: FloatArray,
    solver: Solver,
    cells: list[Cell],
    block: FloatArray,
) -> None:
    parts = list(local_systems(cells, block, common, left))
    of_mean = solver.root_gains([system for system, _ in parts])
    for (system, obs), mean_gains in zip(parts, of_mean, strict=True):
        here = system.departures
        np.matmul(system.anomalies.T, system.heard, out=here)
        here += right.take(obs) @ mean_gains
