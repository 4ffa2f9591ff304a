"""Observation-error covariance of groups of observations, each a matrix of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.linalg import forward_solve, forward_solve_adjoint
from daflow.numerics.arrays.validation import FloatArray, observation_rows, real_array
from daflow.numerics.obs_error.dense_covariance import DenseCovariance

IntArray = NDArray[np.int64]

LARGEST_STACKED: Final = 32
"""Observations of the largest blocks that are solved many in one call; larger ones are one by one."""


@dataclass(frozen=True, eq=False)
class EqualBlocks:
    """Blocks of one size, wherever they stand."""

    starts: IntArray
    """(count,) the first observation of each, in increasing order."""
    matrices: FloatArray
    """(count, size, size)"""
    lowers: FloatArray
    """(count, size, size), their lower Cholesky factors."""

    @property
    def size(self) -> int:
        """How many observations each has."""
        return int(self.matrices.shape[1])

    def within(self, start: int, stop: int) -> EqualBlocks:
        """Return those that begin in a range, counted from its start."""
        first, last = np.searchsorted(self.starts, (start, stop))
        return EqualBlocks(
            self.starts[first:last] - start, self.matrices[first:last], self.lowers[first:last]
        )


Act = Callable[[EqualBlocks, FloatArray], FloatArray]
"""From (count, size, k) to the same shape."""


@dataclass(frozen=True, eq=False)
class BlockGroups:
    """Some consecutive blocks of a block-diagonal covariance: made ready, so that cutting costs nothing."""

    n_obs: int
    groups: tuple[EqualBlocks, ...]

    def _each(self, act: Act, rows: FloatArray) -> FloatArray:
        given = observation_rows(rows, self.n_obs)
        result = np.empty_like(given)
        for group in self.groups:
            columns = group.starts[:, None] + np.arange(group.size)
            values = np.ascontiguousarray(given.T)[columns]
            result.T[columns] = act(group, values.reshape(*columns.shape, -1)).reshape(values.shape)
        return result

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ R``."""
        return self._each(_multiply, rows)

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L) @ r``."""
        return self._each(_whiten, rows)

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L).T @ r``."""
        return self._each(_whiten_adjoint, rows)

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``L @ r``."""
        return self._each(_colour, rows)

    def within(self, where: slice) -> BlockGroups:
        """Return the blocks of a range that cuts none."""
        inside = (group.within(where.start, where.stop) for group in self.groups)
        return BlockGroups(where.stop - where.start, tuple(group for group in inside if len(group.starts)))


def _multiply(group: EqualBlocks, values: FloatArray) -> FloatArray:
    product: FloatArray = np.matmul(group.matrices, values)
    return product


def _colour(group: EqualBlocks, values: FloatArray) -> FloatArray:
    product: FloatArray = np.matmul(group.lowers, values)
    return product


def _whiten(group: EqualBlocks, values: FloatArray) -> FloatArray:
    if group.size > LARGEST_STACKED:
        return np.stack(
            [forward_solve(lower, value.T).T for lower, value in zip(group.lowers, values, strict=True)]
        )
    return np.asarray(np.linalg.solve(group.lowers, values), dtype=np.float64)


def _whiten_adjoint(group: EqualBlocks, values: FloatArray) -> FloatArray:
    if group.size > LARGEST_STACKED:
        pairs = zip(group.lowers, values, strict=True)
        return np.stack([forward_solve_adjoint(lower, value.T).T for lower, value in pairs])
    return np.asarray(np.linalg.solve(group.lowers.swapaxes(1, 2), values), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class BlockDiagonalCovariance:
    """Errors that depend on each other only within groups of consecutive observations.

    Cost: that of `DenseCovariance`, summed over the blocks; many small blocks are worked on together.

    Parameters
    ----------
    blocks
        A matrix for each group, in the order of the observations.

    Raises
    ------
    DataError
        There is none, or one is not a covariance; the message says which.
    """

    blocks: Sequence[FloatArray]
    ends: IntArray = field(init=False, repr=False)
    """(n_blocks + 1,) where the blocks begin, and where the last one ends."""
    whole: BlockGroups = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.blocks) == 0:
            raise DataError("a block-diagonal covariance has no blocks", allowed="one matrix or more")
        groups = _groups(self.blocks)
        ends = np.zeros(len(self.blocks) + 1, np.int64)
        np.cumsum([len(block) for block in self.blocks], out=ends[1:])
        object.__setattr__(self, "ends", ends)
        object.__setattr__(self, "whole", BlockGroups(int(ends[-1]), groups))
        found = {start: m for group in groups for start, m in zip(group.starts, group.matrices, strict=True)}
        object.__setattr__(self, "blocks", tuple(found[start] for start in ends[:-1]))

    @property
    def n_obs(self) -> int:
        """How many observations."""
        return self.whole.n_obs

    def multiply(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ R``."""
        return self.whole.multiply(rows)

    def solve(self, rows: FloatArray) -> FloatArray:
        """Return ``rows @ inv(R)``."""
        return self.whole.whiten_adjoint(self.whole.whiten(rows))

    def whiten(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L) @ r``."""
        return self.whole.whiten(rows)

    def whiten_adjoint(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``inv(L).T @ r``."""
        return self.whole.whiten_adjoint(rows)

    def colour(self, rows: FloatArray) -> FloatArray:
        """Return each row r as ``L @ r``."""
        return self.whole.colour(rows)

    def sample(self, standard_normals: FloatArray) -> FloatArray:
        """Return draws (k, n_obs) from N(0, R), made of as many standard normals."""
        return self.colour(standard_normals)

    def logdet(self) -> float:
        """Return the logarithm of the determinant of R."""
        diagonals = (np.diagonal(group.lowers, axis1=1, axis2=2) for group in self.whole.groups)
        return float(2.0 * sum(np.log(diagonal).sum() for diagonal in diagonals))

    def diagonal(self) -> FloatArray:
        """Return the variances (n_obs,)."""
        return np.concatenate([np.diagonal(block) for block in self.blocks])

    def dense(self) -> FloatArray:
        """Return R as a matrix (n_obs, n_obs)."""
        return self.multiply(np.eye(self.n_obs))

    @property
    def patterns(self) -> FloatArray:
        """Return (n_obs, 0): no error is shared beyond a block."""
        return np.empty((self.n_obs, 0))

    def parts(self, size: int) -> Iterator[tuple[slice, BlockGroups]]:
        """Yield as many whole blocks at a time as fit, one at least."""
        first = 0
        while first < len(self.ends) - 1:
            last = int(np.searchsorted(self.ends, self.ends[first] + size, side="right")) - 1
            last = max(last, first + 1)
            where = slice(int(self.ends[first]), int(self.ends[last]))
            yield where, self.whole.within(where)
            first = last


def _groups(blocks: Sequence[FloatArray]) -> tuple[EqualBlocks, ...]:
    """Return the blocks by size, each size in one stack."""
    try:
        arrays = [real_array(f"block {number}", block) for number, block in enumerate(blocks)]
        sizes = np.array([len(array) for array in arrays])
        starts = np.cumsum(sizes) - sizes
        groups = []
        for size in np.unique(sizes):
            where = np.flatnonzero(sizes == size)
            groups.append(_stack(starts[where], np.stack([arrays[number] for number in where])))
    except (TypeError, ValueError, np.linalg.LinAlgError):
        _refuse(blocks)
        raise
    return tuple(groups)


def _stack(starts: IntArray, matrices: FloatArray) -> EqualBlocks:
    turned = matrices.swapaxes(1, 2)
    largest = np.abs(matrices).max(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        difference = np.abs(matrices - turned).max(axis=(1, 2))
    if not (difference <= 1e-10 * largest).all():
        raise ValueError("a block is not symmetric")
    matrices = 0.5 * (matrices + turned)
    lowers = np.asarray(np.linalg.cholesky(matrices), dtype=np.float64)
    for array in (matrices, lowers):
        array.setflags(write=False)
    return EqualBlocks(starts, matrices, lowers)


def _refuse(blocks: Sequence[FloatArray]) -> None:
    """Say which block is no covariance, and why."""
    for number, block in enumerate(blocks):
        try:
            DenseCovariance(block)
        except DataError as error:
            what = f"block {number}: {error.what}"
            raise DataError(what, got=error.got, allowed=error.allowed, do=error.do) from error
