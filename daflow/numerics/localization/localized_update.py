"""Localized updates of a slice, in place, cell by cell.

The points of some cells are gathered from the slice into a buffer of a few MiB, changed there by small
matrix products, and put back: neither the slice's mean nor anything else of its size is ever formed. Points
that hear nothing are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.localization.cells import Cell, FloatArray, Group, IntArray, LocalizationPlan
from daflow.numerics.localization.gathering import Slab, fastest_gathering

BUFFER_BYTES: Final = 4 << 20
"""The ensemble's values of the points in hand: enough to read its rows in order, few enough for the cache."""

OBS_BLOCK: Final = 4096
"""Observations that are multiplied at once where all points hear all of them."""

Change = Callable[[list[Cell], FloatArray], None]
"""Turns what is gathered (n_members, points of the cells) into increments, in place.

What it gets is each member's departure from the first one. Any reference will do in the place of the mean,
as whatever it is multiplied by has a sum of zero over the members, and this one costs no pass of its own.
"""


def add_tapered_increment(plan: LocalizationPlan, slab: Slab, left: ArrayLike, right: ArrayLike) -> None:
    """Add right' (taper o (left anomalies)) to a slice: what the observations tell each member, in place.

    With predicted anomalies Y (n_obs, n_members), a taper on the covariance has left = Y / (N - 1) and
    right = the inverse of C_yy + R times the innovations; a taper on the gain has left = the transposed
    gain's ensemble part and right = the innovations.

    Parameters
    ----------
    plan
        Made by `daflow.numerics.localization.cell_planning.plan_localization` for the slice's points and all
        observations.
    slab
        (n_members, n) float64 or float32: the prior, and then the posterior. Rows may lie apart; what is
        float32 is calculated in float64 and rounded once.
    left, right
        (n_obs, n_members) float64. The rows of ``left`` have a sum of zero: that takes the place of
        centring the slice. Only rows in reach are read.

    Raises
    ------
    daflow.errors.DataError
        Shapes or types disagree with the plan, or a number that is needed is not finite; parts of the
        slice may then be changed already.

    Notes
    -----
    Costs 4 n_members operations for each pair in the plan; all observations that are untapered together
    cost one product of (n_members, n_members) with (n_members, points). Takes about 10 MiB, whatever the
    slice.

    Laws: equals the dense formula; does not depend on how the points are split into slices (1e-12); what
    hears nothing stays as it is, bit for bit; untapered it is the global product; what all members have in
    common does not count.
    """
    left, right = checked_factor("left", left, plan, slab), checked_factor("right", right, plan, slab)
    for group in plan.groups():
        change = partial(_taper, left=left, right=right)
        if group.untapered is not None:
            matrix = product_over_obs(right, left, group.everywhere)
            change = partial(_taper_all_but_some, matrix=matrix, tapers=change)
        change_cells(slab, group, change)


def _taper(cells: list[Cell], block: FloatArray, left: FloatArray, right: FloatArray) -> None:
    start = 0
    for points, obs, weights in cells:
        here = block[:, start : start + len(points)]
        start += len(points)
        if weights is None:
            here[:] = 0.0
            continue
        heard = left.take(obs, axis=0) @ here
        heard *= weights
        np.matmul(right.take(obs, axis=0).T, heard, out=here)


def _taper_all_but_some(cells: list[Cell], block: FloatArray, matrix: FloatArray, tapers: Change) -> None:
    untapered = matrix @ block
    tapers(cells, block)
    block += untapered


def product_over_obs(one: FloatArray, other: FloatArray, obs: IntArray) -> FloatArray:
    """Return one' other (n_members, n_members) over some of the rows (n_obs, n_members), block by block."""
    product = np.zeros((one.shape[1], other.shape[1]))
    for start in range(0, len(obs), OBS_BLOCK):
        some = obs[start : start + OBS_BLOCK]
        product += one.take(some, axis=0).T @ other.take(some, axis=0)
    return product


def change_cells(slab: Slab, group: Group, change: Change, beside: int = 0) -> None:
    """Gather the points of a group's cells, change them, and put them back, some at a time.

    Parameters
    ----------
    slab
        (n_members, n), looked at by `checked_factor`.
    group
        Its untapered cell comes last, cut where it is large; all others come whole.
    change
        What the increments are.
    beside
        How many rows ``change`` needs of its own, beside those of the slice: fewer points are then gathered
        at once.

    Raises
    ------
    daflow.errors.DataError
        A number that is needed is not finite.
    """
    batches = list(_batches(group, max(BUFFER_BYTES // (8 * (len(slab) + beside)), 1)))
    most = max((sum(len(cell[0]) for cell in batch) for batch in batches), default=0)
    gathering = fastest_gathering(slab.size)(slab, most)
    for batch in batches:
        points = batch[0][0] if len(batch) == 1 else np.concatenate([cell[0] for cell in batch])
        block = gathering.departures(points)
        change(batch, block)
        _check_finite(block, slab, points)
        gathering.add(points, block)


def _batches(group: Group, size: int) -> Iterator[list[Cell]]:
    """Yield cells of so many points in all: rows of the ensemble are long, much of them best read at once."""
    batch: list[Cell] = []
    n_points = 0
    for cell in chain(group.tapered, _parts(group.untapered, size)):
        if batch and n_points + len(cell[0]) > size:
            yield batch
            batch, n_points = [], 0
        batch.append(cell)
        n_points += len(cell[0])
    if batch:
        yield batch


def _parts(cell: Cell | None, size: int) -> Iterator[Cell]:
    if cell is not None:
        points, obs, _ = cell
        for start in range(0, len(points), size):
            yield points[start : start + size], obs, None


def checked_factor(name: str, values: ArrayLike, plan: LocalizationPlan, slab: Any) -> FloatArray:
    """Return what is given for each observation and member (n_obs, n_members), if it fits plan and slice.

    Raises
    ------
    daflow.errors.DataError
        It does not, or the slice does not fit the plan.
    """
    slab = np.asarray(slab)
    if slab.dtype not in (np.float32, np.float64) or not slab.flags.writeable:
        got = f"{slab.dtype}{'' if slab.flags.writeable else ', not to be written to'}"
        raise DataError("the slice cannot be updated in place", got=got, allowed="float64 or float32")
    if slab.ndim != 2 or slab.shape[1] != plan.n_state or len(slab) == 0:
        fits = f"(n_members, {plan.n_state})"
        raise DataError("the slice does not fit the localization plan", got=slab.shape, allowed=fits)
    array = np.asarray(values, np.float64)
    if array.shape != (plan.n_obs, len(slab)):
        allowed = (plan.n_obs, len(slab))
        raise DataError(f"{name} does not fit the localization plan", got=array.shape, allowed=allowed)
    return array


def checked_innovation(values: ArrayLike, plan: LocalizationPlan) -> FloatArray:
    """Return the innovation of the mean (n_obs,), if it fits the plan.

    Raises
    ------
    daflow.errors.DataError
        It does not.
    """
    innovation = np.asarray(values, np.float64)
    if innovation.shape != (plan.n_obs,):
        raise DataError(
            "the innovation does not fit the localization plan", got=innovation.shape, allowed=(plan.n_obs,)
        )
    return innovation


def _check_finite(block: FloatArray, slab: Slab, points: IntArray) -> None:
    # A sum is finite only if every term is, up to overflow, which the masks then tell apart.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(block.sum()):
            return
    prior = slab[:, points]
    bad = ~np.isfinite(prior)
    if bad.any():
        member, where = np.unravel_index(int(np.argmax(bad)), prior.shape)
        raise DataError(
            f"state point {points[where]} of the slice is not finite (row {member})",
            got=float(prior[member, where]),
            do="leave out the member that this value comes from, or repair its prior",
        )
    if not np.isfinite(block).all():
        raise DataError("the increment of a localized update is not finite", do="check the predictions")
