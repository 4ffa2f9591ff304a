"""How a localization plan is made: points gathered in cells, and what each cell hears."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from daflow.numerics.localization.cells import Cell, FloatArray, IntArray, LocalizationPlan
from daflow.numerics.localization.distance import Rules, TaperBlock, checked_points, taper_blocks
from daflow.numerics.localization.tapers import EDGE

CELL_SIZE: Final = 300
"""Points a cell at most: fewer raise the overhead of a cell, more let points hear of observations that are
out of their own reach."""


def plan_localization(
    points: ArrayLike, variable_codes: ArrayLike, obs_points: ArrayLike, kind_codes: ArrayLike, rules: Rules
) -> LocalizationPlan:
    """Find the cells, the observations that each hears, and the weights.

    Parameters
    ----------
    points, variable_codes, obs_points, kind_codes, rules
        As `daflow.numerics.localization.distance.taper_by_kind` has them. The plan depends on nothing else.

    Raises
    ------
    daflow.errors.ConfigError, daflow.errors.DataError
        As for `daflow.numerics.localization.distance.taper_by_kind`.

    Notes
    -----
    Costs O(n log n) and, a cell, its points times the observations in reach of any of them: for n points
    of a fixed density that grows like n. Points that hear nothing are in no cell. Untapered pairs store no
    weights. A taper of infinite reach makes every cell hear every observation: n x m weights.
    """
    points, obs_points = checked_points(points, "points"), checked_points(obs_points, "obs_points")
    blocks = taper_blocks(points, variable_codes, obs_points, kind_codes, rules)
    cells: list[Cell] = []
    group_starts = [0]
    # No two variables share a point, so its first point tells a variable.
    for _, of_variable in groupby(blocks, key=lambda block: int(block.points[0])):
        cells += _cells(list(of_variable))
        group_starts.append(len(cells))
    return LocalizationPlan(
        len(points),
        len(obs_points),
        np.array(group_starts),
        *_joined([cell_points for cell_points, _, _ in cells], np.int64),
        *_joined([obs for _, obs, _ in cells], np.int64),
        *_joined(
            [np.zeros(0) if weights is None else weights.ravel() for _, _, weights in cells], np.float64
        ),
    )


def _joined(parts: list[Any], dtype: type) -> tuple[IntArray, NDArray[Any]]:
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return starts, np.concatenate([np.zeros(0, dtype), *parts])


def _cells(blocks: list[TaperBlock]) -> Iterator[Cell]:
    """Yield the cells of a variable from its blocks, one a rule."""
    points = blocks[0].points
    tapered = [block for block in blocks if block.taper is not None]
    untapered = [block.obs for block in blocks if block.taper is None]
    alone = np.full(len(points), bool(untapered))
    for here, obs, weights in _tapered_cells(tapered):
        hears = weights.any(axis=0)
        if hears.any():
            alone[here[hears]] = False
            yield (
                (points[here], obs, weights) if hears.all() else (points[here[hears]], obs, weights[:, hears])
            )
    if untapered:
        yield points[alone], np.concatenate(untapered), None


def _tapered_cells(blocks: list[TaperBlock]) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """Yield the points of each cell as numbers within the variable, what it hears, and the weights."""
    if not blocks:
        return
    cells = _gather(blocks[0].placed_points)
    for here, *heard in zip(cells, *(_heard(block, cells) for block in blocks), strict=True):
        if len(heard) == 1:
            yield here, *heard[0]
        else:
            yield here, *(np.concatenate(parts) for parts in zip(*heard, strict=True))


def _heard(block: TaperBlock, cells: list[IntArray]) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield, for each cell, the observations (q,) that any of its points hears, and the weights (q, p)."""
    if block.taper is None:
        return
    radius = block.taper.reach + 2.0 * EDGE
    for here, near in zip(cells, _in_reach(block, cells, radius), strict=True):
        placed = block.placed_points[here]
        square = np.zeros((len(near), len(here)))
        for axis in range(placed.shape[1]):
            square += np.square(block.placed_obs[near, axis, None] - placed[:, axis])
        weights = block.taper.weight(np.sqrt(square))
        heard = weights.any(axis=1)
        yield block.obs[near[heard]], weights[heard]


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
