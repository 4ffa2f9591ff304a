r"""Serial filters on a slice, tapered: the sequence of observations replayed cell by cell.

What the sequence does among the observations is known
(`daflow.numerics.filters.serial_filters.serial_factors`); each cell of points replays the part of it that any
of its points hears, in the order of the observations:

.. math:: x_i \leftarrow x_i + \Delta h_{ji} \, \rho_j \circ (b_j \cdot x), \qquad j = 1, 2, \ldots

with b the regressor of observation j and :math:`\Delta h` its increments.

Source: Anderson (2003), Monthly Weather Review 131, 634, section 3.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from daflow.numerics.filters.serial_filters import SerialFactors, apply_serial
from daflow.numerics.localization.cells import Cell, FloatArray, IntArray, LocalizationPlan
from daflow.numerics.localization.gathering import Slab
from daflow.numerics.localization.localized_update import change_cells, checked_factor


def add_serial_analysis(
    plan: LocalizationPlan, slab: Slab, regressors: ArrayLike, increments: ArrayLike
) -> None:
    """Update a slice by observations taken one after the other, tapered, in place.

    Parameters
    ----------
    plan, slab
        As `daflow.numerics.localization.localized_update.add_tapered_increment` has them.
    regressors, increments
        (n_obs, n_members) of `daflow.numerics.filters.serial_filters.serial_factors`.

    Raises
    ------
    daflow.errors.DataError
        As `daflow.numerics.localization.localized_update.add_tapered_increment`.

    Notes
    -----
    Costs 4 n_members operations for each pair in the plan, and a pass over a cell for each observation that
    it hears. Takes some tens of MiB, whatever the slice.

    Laws: equals `daflow.numerics.filters.serial_filters.apply_serial` with the dense taper; does not depend
    on how the points are split into slices (1e-12); what hears nothing stays as it is, bit for bit.
    """
    left = checked_factor("regressors", regressors, plan, slab)
    right = checked_factor("increments", increments, plan, slab)
    for group in plan.groups():
        everywhere = group.everywhere
        matrix = _change_by(np.sort(everywhere), left, right)
        change = partial(_replay, everywhere=everywhere, matrix=matrix, left=left, right=right)
        change_cells(slab, group, change)


def _change_by(obs: IntArray, left: FloatArray, right: FloatArray) -> FloatArray:
    """Return what some observations, heard in full, change of departures (n_members, n_members)."""
    change = apply_serial(SerialFactors(left[obs], right[obs]), np.eye(left.shape[1]))
    change[np.diag_indices_from(change)] -= 1.0
    return change


def _replay(
    cells: list[Cell],
    block: FloatArray,
    everywhere: IntArray,
    matrix: FloatArray,
    left: FloatArray,
    right: FloatArray,
) -> None:
    start = 0
    for points, of_cell, weights in cells:
        here = block[:, start : start + len(points)]
        start += len(points)
        if weights is None:
            here[:] = matrix @ here
            continue
        now, step = here.copy(), np.empty(here.shape)
        obs = np.concatenate([of_cell, everywhere])
        for row in np.argsort(obs):
            slopes = left[obs[row]] @ now
            if row < len(of_cell):
                slopes *= weights[row]
            np.multiply.outer(right[obs[row]], slopes, out=step)
            now += step
        np.subtract(now, here, out=here)
