"""The localized increment, cell by cell.

Points that lie together hear nearly the same observations. So points are gathered in cells, each cell finds
the observations in reach of any of its points once, and from then on it costs two small matrix products and
a product with its block of taper weights. Nothing of size points x observations ever exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from daflow.errors import DataError
from daflow.numerics.localization import Rules, TaperBlock, checked_points, taper_blocks
from daflow.numerics.tapers import EDGE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CELL_SIZE: Final = 300
"""Points a cell at most: fewer raise the overhead of a cell, more let points hear of observations that are
out of their own reach."""

BATCH_SIZE: Final = 8192
"""Points that are gathered from the ensemble at once: enough to read its rows in order, few enough to stay
in the cache."""

Cell = tuple[IntArray, IntArray, FloatArray | None]
"""A cell's points (p,), observations (q,) and weights (q, p), ``None`` if untapered."""


@dataclass(frozen=True, slots=True)
class LocalizationPlan:
    """Which points hear which observations, and how loudly: made once, used at every step.

    Cell c holds ``points[point_starts[c]:point_starts[c + 1]]``, hears the observations
    ``obs[obs_starts[c]:obs_starts[c + 1]]`` and weighs them by the matrix (observations, points) stored
    flat in ``weights[weight_starts[c]:weight_starts[c + 1]]``. A cell without weights is untapered: all
    ones. The cells ``rule_starts[r]`` to ``rule_starts[r + 1]`` come from one rule: no point lies in two of
    them.
    """

    n_state: int
    n_obs: int
    rule_starts: IntArray
    point_starts: IntArray
    points: IntArray
    obs_starts: IntArray
    obs: IntArray
    weight_starts: IntArray
    weights: FloatArray

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return len(self.point_starts) - 1

    @property
    def n_pairs(self) -> int:
        """How many weights are stored; 8 bytes each."""
        return len(self.weights)

    def cells(self, rule: int) -> Iterator[Cell]:
        """Yield the cells of one rule, in the plan's order."""
        starts = (self.point_starts, self.obs_starts, self.weight_starts)
        for cell in range(self.rule_starts[rule], self.rule_starts[rule + 1]):
            (p0, o0, w0), (p1, o1, w1) = (tuple(start[cell + i] for start in starts) for i in (0, 1))
            weights = self.weights[w0:w1].reshape(o1 - o0, p1 - p0) if w1 > w0 else None
            yield self.points[p0:p1], self.obs[o0:o1], weights

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the plan as named arrays, to be kept by a store.

        Laws: `from_arrays` gives the same plan back.
        """
        return {part.name: np.asarray(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> LocalizationPlan:
        """Return the plan that `to_arrays` took apart.

        Raises
        ------
        daflow.errors.DataError
            An array is missing, or they do not belong together.
        """
        names = [part.name for part in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            do = "make the plan again with plan_localization"
            raise DataError("A localization plan lacks arrays", got=", ".join(missing), do=do)
        n_state, n_obs = int(arrays["n_state"]), int(arrays["n_obs"])
        indices = {name: np.asarray(arrays[name], np.int64) for name in names[2:-1]}
        plan = cls(n_state, n_obs, **indices, weights=np.asarray(arrays["weights"], np.float64))
        _check_plan(plan)
        return plan


def _check_plan(plan: LocalizationPlan) -> None:
    p, q = np.diff(plan.point_starts), np.diff(plan.obs_starts)
    w = np.diff(plan.weight_starts) if len(p) == len(q) == len(plan.weight_starts) - 1 else np.full(1, -1)
    sound = (
        len(w) == len(p)
        and np.all((w == p * q) | (w == 0))
        and plan.rule_starts[-1] == len(p)
        and plan.point_starts[-1] == len(plan.points)
        and plan.obs_starts[-1] == len(plan.obs)
        and plan.weight_starts[-1] == len(plan.weights)
        and np.all((plan.points >= 0) & (plan.points < plan.n_state))
        and np.all((plan.obs >= 0) & (plan.obs < plan.n_obs))
    )
    if not sound:
        do = "make the plan again with plan_localization"
        raise DataError("The arrays of a localization plan do not belong together", do=do)


def plan_localization(
    points: ArrayLike, variable_codes: ArrayLike, obs_points: ArrayLike, kind_codes: ArrayLike, rules: Rules
) -> LocalizationPlan:
    """Find the cells, the observations that each hears, and the weights.

    Parameters
    ----------
    points, variable_codes, obs_points, kind_codes, rules
        As `daflow.numerics.localization.taper_by_kind` has them. The plan depends on nothing else.

    Raises
    ------
    daflow.errors.ConfigError, daflow.errors.DataError
        As for `daflow.numerics.localization.taper_by_kind`.

    Notes
    -----
    Costs O(n log n) and, a cell, its points times the observations in reach of any of them: for n points
    of a fixed density that grows like n. Untapered rules store no weights. A taper of infinite reach makes
    every cell hear every observation: n x m weights.
    """
    points, obs_points = checked_points(points, "points"), checked_points(obs_points, "obs_points")
    cell_points: list[IntArray] = []
    cell_obs: list[IntArray] = []
    cell_weights: list[FloatArray] = []
    rule_starts = [0]
    for block in taper_blocks(points, variable_codes, obs_points, kind_codes, rules):
        for here, heard, block_weights in _cells(block):
            cell_points.append(block.points[here])
            cell_obs.append(block.obs[heard])
            cell_weights.append(block_weights.ravel())
        rule_starts.append(len(cell_points))
    which = (*_joined(cell_points, np.int64), *_joined(cell_obs, np.int64))
    weight_starts, weights = _joined(cell_weights, np.float64)
    sizes = (len(points), len(obs_points), np.array(rule_starts))
    return LocalizationPlan(*sizes, *which, weight_starts, weights)


def _joined(parts: list[NDArray[Any]], dtype: type) -> tuple[IntArray, NDArray[Any]]:
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return starts, np.concatenate([np.zeros(0, dtype), *parts])


def _cells(block: TaperBlock) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """Yield each cell's points and the observations it hears, as numbers within the block, and weights."""
    if block.taper is None:
        for start in range(0, len(block.points), BATCH_SIZE):
            stop = min(start + BATCH_SIZE, len(block.points))
            yield np.arange(start, stop), np.arange(len(block.obs)), np.zeros(0)
        return
    cells = _gather(block.placed_points)
    radius = block.taper.reach + 2.0 * EDGE
    for here, near in zip(cells, _in_reach(block, cells, radius), strict=True):
        if len(near) == 0:
            continue
        placed = block.placed_points[here]
        square = np.zeros((len(near), len(here)))
        for axis in range(placed.shape[1]):
            square += np.square(block.placed_obs[near, axis, None] - placed[:, axis])
        weights = block.taper.weight(np.sqrt(square))
        heard = weights.any(axis=1)
        if heard.any():
            yield here, near[heard], weights[heard]


def _gather(placed: FloatArray) -> list[IntArray]:
    """Return points in cells: the leaves of a tree that halves the longest side, by the points alone."""
    tree = cKDTree(placed, leafsize=CELL_SIZE)
    cells: list[IntArray] = []
    waiting: list[Any] = [tree.tree]
    while waiting:
        node = waiting.pop()
        if node.split_dim >= 0:
            waiting += [node.greater, node.lesser]
            continue
        inside = np.sort(tree.indices[node.start_idx : node.end_idx]).astype(np.int64)
        # Points that coincide cannot be told apart by a tree, however many they are.
        cells += [inside[start : start + CELL_SIZE] for start in range(0, len(inside), CELL_SIZE)]
    return cells


def _in_reach(block: TaperBlock, cells: list[IntArray], radius: float) -> Iterator[IntArray]:
    """Yield, for each cell, the observations within a radius of the box around its points."""
    if np.isinf(radius):
        yield from (np.arange(len(block.obs)) for _ in cells)
        return
    low = np.stack([block.placed_points[here].min(axis=0) for here in cells])
    high = np.stack([block.placed_points[here].max(axis=0) for here in cells])
    centre, half = (low + high) / 2.0, (high - low) / 2.0
    around = np.sqrt(np.square(half).sum(axis=1)) + radius
    near = cKDTree(block.placed_obs).query_ball_point(centre, around, return_sorted=True)
    for number, found in enumerate(near):
        candidates = np.asarray(found, np.int64)
        gap = np.maximum(np.abs(block.placed_obs[candidates] - centre[number]) - half[number], 0.0)
        # A rounding error in the box must not cost an observation that sits on the edge of reach.
        yield candidates[np.square(gap).sum(axis=1) <= radius**2 * (1.0 + EDGE)]


def localized_increment(
    plan: LocalizationPlan, anomalies: ArrayLike, left: ArrayLike, right: ArrayLike
) -> FloatArray:
    """Return right (taper o (anomalies' left))': what the observations add to each member.

    With the ensemble's anomalies A and predicted anomalies Y, both centred and with members first, a taper
    on the covariance has left = Y / (N - 1) and right = the innovations times the inverse of C_yy + R; a
    taper on the gain has left = the transposed gain's ensemble part and right = the innovations.

    Parameters
    ----------
    plan
        Made by `plan_localization` for the n points in hand and all m observations.
    anomalies
        (n_members, n) float64.
    left, right
        (n_members, m) float64.

    Returns
    -------
    ndarray
        (n_members, n) float64; exactly 0 for a point that hears nothing.

    Raises
    ------
    daflow.errors.DataError
        Shapes disagree with the plan, or a number that is needed is not finite.

    Notes
    -----
    Costs 4 n_members operations for each pair in the plan; an untapered rule costs one product of
    (n_members, n_members) with (n_members, points).

    Laws: equals the dense formula; does not depend on how the points are split into slices (1e-12); no
    observation in reach gives an increment of exactly 0; untapered it is the global product.
    """
    anomalies, left, right = (np.asarray(array, np.float64) for array in (anomalies, left, right))
    _check_shapes(plan, anomalies, left, right)
    left_t, right_t = np.ascontiguousarray(left.T), np.ascontiguousarray(right.T)
    increment = np.zeros(anomalies.shape)
    once = bool(np.bincount(plan.points, minlength=1).max() <= 1)
    for batch in _batches(plan):
        points = np.concatenate([cell[0] for cell in batch])
        block = anomalies.take(points, axis=1)
        _check_finite(block, points)
        _weigh(batch, block, left_t, right_t)
        for row, values in zip(increment, block, strict=True):
            # Adding where nothing was yet would read the whole increment for nothing.
            row[points] = values if once else row[points] + values
    return increment


def _batches(plan: LocalizationPlan) -> Iterator[list[Cell]]:
    """Yield cells in batches: a row of the ensemble is long, many of its points are best read at once.

    A batch never crosses from rule to rule, so that no point comes twice in it.
    """
    for rule in range(len(plan.rule_starts) - 1):
        batch: list[Cell] = []
        n_points = 0
        for cell in plan.cells(rule):
            if batch and n_points + len(cell[0]) > BATCH_SIZE:
                yield batch
                batch, n_points = [], 0
            batch.append(cell)
            n_points += len(cell[0])
        if batch:
            yield batch


def _weigh(batch: list[Cell], block: FloatArray, left_t: FloatArray, right_t: FloatArray) -> None:
    """Turn the anomalies (n_members, points of the batch) into increments, in place."""
    start = 0
    for points, obs, weights in batch:
        here = block[:, start : start + len(points)]
        start += len(points)
        if weights is None:
            here[:] = (right_t[obs].T @ left_t[obs]) @ here
            continue
        heard = left_t[obs] @ here
        heard *= weights
        np.matmul(right_t[obs].T, heard, out=here)


def _check_shapes(plan: LocalizationPlan, anomalies: FloatArray, left: FloatArray, right: FloatArray) -> None:
    n_members = len(anomalies) if anomalies.ndim == 2 else 0
    wanted = {"anomalies": (n_members, plan.n_state), "left": (n_members, plan.n_obs)}
    wanted["right"] = wanted["left"]
    for (name, shape), array in zip(wanted.items(), (anomalies, left, right), strict=True):
        if array.shape != shape or n_members == 0:
            allowed = f"(n_members, {shape[1]})" if n_members == 0 else shape
            raise DataError(f"{name} do not fit the localization plan", got=array.shape, allowed=allowed)
    for name, array in (("left", left), ("right", right)):
        if not np.isfinite(array).all():
            raise DataError(f"{name} of the localized increment is not finite", do="check the predictions")


def _check_finite(block: FloatArray, points: IntArray) -> None:
    bad = ~np.isfinite(block)
    if bad.any():
        member, where = np.unravel_index(int(np.argmax(bad)), block.shape)
        raise DataError(
            f"The anomalies of state point {points[where]} are not finite (row {member})",
            got=float(block[member, where]),
            do="leave out the member that this value comes from, or repair its prior",
        )
