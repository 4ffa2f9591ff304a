r"""Local systems by numpy alone, many points at a time.

Around each point the observations in reach count by their weights w: with Z their predicted anomalies in
units of the observation error and :math:`\sqrt{n_{members} - 1}`, a the point's departures and h = Z a, the
gains are

.. math::

    k = \sqrt{w} (1 + M)^{-1} \sqrt{w} h = w Z (1 + M')^{-1} a,
    \qquad M = \sqrt{w} Z Z' \sqrt{w}, \quad M' = Z' w Z,

the first form being the smaller one where a point hears fewer observations than there are members. Those of
a deterministic analysis have :math:`f` of `daflow.numerics.arrays.inverse_root` in the place of the inverse.

Points that hear nearly as many observations are worked on together, the point being the last axis of every
array: what takes a loop is a column of the systems, never a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.arrays.inverse_root import shifted_inverses
from daflow.numerics.localization.cells import FloatArray, IntArray

CHUNK_BYTES: Final = 8 << 20
"""The systems that are worked on together: few enough to stay near the cache."""

CHUNK_POINTS: Final = 512
"""Points that are worked on together at most: more differ more in how many observations they hear."""


class LocalSystem(NamedTuple):
    """What the points of a cell have to solve."""

    anomalies: FloatArray
    """(q, n_members) Z, the predicted anomalies of the observations that the cell hears."""
    weights: FloatArray
    """(q, p)"""
    block: FloatArray
    """(n_members, points) each member's departures from any one of them, for these points and others."""
    begin: int
    """Which of those points is the cell's first."""
    heard: FloatArray
    """(q, p) Z times the departures of the cell's points."""

    @property
    def departures(self) -> FloatArray:
        """(n_members, p) those of the cell's points."""
        return self.block[:, self.begin : self.begin + self.heard.shape[1]]


Solution = Callable[[FloatArray, FloatArray], Sequence[FloatArray]]
"""Systems (d, d, P), at liberty, and vectors (d, P) -> solutions (d, P), one or more."""


def gains(systems: Sequence[LocalSystem]) -> None:
    """Turn what is heard into the gains k of each point, in place.

    Laws: equals the plain formula of each point (1e-12).
    """
    _fill([[system.heard for system in systems]], systems, lambda matrix, vector: [_inverse(matrix, vector)])


def root_gains(systems: Sequence[LocalSystem]) -> list[FloatArray]:
    """Turn what is heard into the gains of the anomalies, in place; return those of the mean, (q, p) each.

    Laws: equals the plain formula of each point (1e-12).
    """
    shifts, terms = shifted_inverses(largest_eigenvalue(systems))

    def solve(matrix: FloatArray, vector: FloatArray) -> Sequence[FloatArray]:
        return _by_shifted_inverses(matrix, vector, [(shifts, terms), (np.ones(1), np.ones(1))])

    of_mean = [np.empty_like(system.heard) for system in systems]
    _fill([[system.heard for system in systems], of_mean], systems, solve)
    return of_mean


def largest_eigenvalue(systems: Sequence[LocalSystem]) -> float:
    """Return a number that no eigenvalue of any system exceeds."""
    return max((float(np.linalg.norm(each.anomalies @ each.anomalies.T)) for each in systems), default=0.0)


def _fill(out: list[list[FloatArray]], systems: Sequence[LocalSystem], solve: Solution) -> None:
    """Solve all points of all systems, and put each solution's gains where ``out`` says, system by system."""
    pairs = _pairs(systems)
    flat = [np.zeros(len(pairs.heard)) for _ in out]
    for near, roots, matrix, vector in _among_observations(pairs):
        for gain, solved in zip(flat, solve(matrix, vector), strict=True):
            heard = roots > 0.0
            gain[near[heard]] = (roots * solved)[heard]
    starts = pairs.starts
    for number, system in enumerate(systems):
        for gain, target in zip(flat, out, strict=True):
            target[number][:] = gain[starts[number] : starts[number + 1]].reshape(system.heard.shape)
        many = np.flatnonzero((system.weights > 0.0).sum(axis=0) > system.anomalies.shape[1])
        for points, matrix, vector in _among_members(system, many):
            for target, solved in zip(out, solve(matrix, vector), strict=True):
                target[number][:, points] = system.weights[:, points] * (system.anomalies @ solved)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The pairs of point and observation in reach, point by point, for those points that hear few."""

    starts: IntArray
    """Where each system begins in what is heard, laid flat."""
    heard: FloatArray
    """What is heard, laid flat."""
    grams: FloatArray
    """Z Z' of the systems, laid flat."""
    counts: IntArray
    """(n_points,) how many observations each hears."""
    gram_starts: IntArray
    """(n_points,) where the Z Z' of its system begins."""
    gram_sizes: IntArray
    """(n_points,) how many rows it has."""
    obs: IntArray
    """(n_pairs,) the number of the observation within its system."""
    places: IntArray
    """(n_pairs,) the number of the pair in what is heard."""
    roots: FloatArray
    """(n_pairs,) of the weight."""


def _pairs(systems: Sequence[LocalSystem]) -> _Pairs:
    counts, gram_starts, gram_sizes, obs, places, roots, grams = [], [], [], [], [], [], []
    starts, gram_start = np.zeros(len(systems) + 1, np.int64), 0
    for number, (anomalies, weights, _, _, heard) in enumerate(systems):
        q, p = weights.shape
        starts[number + 1] = starts[number] + heard.size
        hears = weights > 0.0
        hears[:, hears.sum(axis=0) > anomalies.shape[1]] = False
        of_point, of_obs = np.nonzero(hears.T)
        counts.append(hears.sum(axis=0))
        gram_starts.append(np.full(p, gram_start))
        gram_sizes.append(np.full(p, q))
        obs.append(of_obs)
        places.append(starts[number] + of_obs * p + of_point)
        roots.append(np.sqrt(weights[of_obs, of_point]))
        grams.append((anomalies @ anomalies.T).ravel())
        gram_start += q * q
    parts: tuple[list[NDArray[Any]], ...] = (counts, gram_starts, gram_sizes, obs, places, roots)
    heard_flat = np.concatenate([np.zeros(0), *(system.heard.ravel() for system in systems)])
    return _Pairs(starts, heard_flat, np.concatenate([np.zeros(0), *grams]), *map(_joined, parts))


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _among_observations(
    pairs: _Pairs,
) -> Iterator[tuple[IntArray, FloatArray, FloatArray, FloatArray]]:
    """Yield where the pairs of some points are (d, P), their roots, the systems and the vectors."""
    first = np.cumsum(pairs.counts) - pairs.counts
    order = np.argsort(pairs.counts, kind="stable")
    order = order[pairs.counts[order] > 0]
    stop = len(order)
    while stop > 0:
        size = int(pairs.counts[order[stop - 1]])
        start = max(stop - max(min(CHUNK_POINTS, CHUNK_BYTES // (8 * size * size)), 1), 0)
        points = order[start:stop]
        stop = start
        along = np.arange(size)[:, np.newaxis]
        inside = along < pairs.counts[points]
        at = np.where(inside, first[points] + along, 0)
        roots = np.where(inside, pairs.roots[at], 0.0)
        near, obs = pairs.places[at], np.where(inside, pairs.obs[at], 0)
        rows = pairs.gram_starts[points] + obs * pairs.gram_sizes[points]
        matrix = pairs.grams[rows[:, np.newaxis] + obs]
        matrix *= roots
        matrix *= roots[:, np.newaxis]
        yield near, roots, matrix, roots * pairs.heard[near]


def _among_members(
    system: LocalSystem, points: IntArray
) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
    """Yield some points, their systems (n_members, n_members, P) and vectors (n_members, P)."""
    anomalies, weights = system.anomalies, system.weights
    n_obs, n_members = anomalies.shape
    at_once = max(CHUNK_BYTES // (8 * n_members * max(n_obs, n_members)), 1)
    for start in range(0, len(points), at_once):
        some = points[start : start + at_once]
        weighed = anomalies.T * weights[:, some].T[:, np.newaxis, :]
        matrix = np.ascontiguousarray((weighed @ anomalies).transpose(1, 2, 0))
        yield some, matrix, system.departures[:, some]


def _inverse(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Return x of (1 + M) x = v."""
    systems = np.ascontiguousarray(matrix.transpose(2, 0, 1))
    every = np.arange(len(vector))
    systems[:, every, every] += 1.0
    solved = np.linalg.solve(systems, vector.T[:, :, np.newaxis])
    return np.asarray(solved[:, :, 0].T, np.float64)


def _by_shifted_inverses(
    matrix: FloatArray, vector: FloatArray, sums: Sequence[tuple[FloatArray, FloatArray]]
) -> list[FloatArray]:
    """Return, for each sum, the total of weight times the inverse of (shift + M) times v.

    Householder reflectors turn M into Q T Q' with a tridiagonal T and v = |v| Q e1, after which a shifted
    inverse costs a few operations a row.
    """
    size = len(vector)
    beside, reflectors = np.empty_like(vector), []
    for k in range(size):
        column = vector if k == 0 else matrix[k:, k - 1].copy()
        beside[k], reflector, tau = _reflector(column)
        reflectors.append((reflector, tau))
        rest = matrix[k:, k:]
        product = np.einsum("ijp,jp->ip", rest, reflector) * tau
        product -= 0.5 * tau * (product * reflector).sum(axis=0) * reflector
        rest -= reflector[:, np.newaxis] * product
        rest -= product[:, np.newaxis] * reflector
    every = np.arange(size)
    diagonal = matrix[every, every]
    totals = [_sum_of_inverses(diagonal, beside, *each) for each in sums]
    for total in totals:
        for k in range(size - 1, -1, -1):
            reflector, tau = reflectors[k]
            total[k:] -= tau * (reflector * total[k:]).sum(axis=0) * reflector
    return totals


def _reflector(column: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return beta, u and tau: 1 - tau u u', u[0] = 1, makes a column (d, P) into (beta, 0, ..., 0)."""
    rest = np.square(column[1:]).sum(axis=0)
    head = column[0]
    norm = np.sqrt(head * head + rest)
    beta = np.where(rest == 0.0, head, -np.copysign(norm, head))
    # Where there is nothing to reflect, any divisor will do.
    tau = np.where(rest == 0.0, 0.0, (beta - head) / np.where(rest == 0.0, 1.0, beta))
    reflector = column / np.where(rest == 0.0, 1.0, head - beta)
    reflector[0] = 1.0
    return beta, reflector, tau


def _sum_of_inverses(
    diagonal: FloatArray, beside: FloatArray, shifts: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the sum of weight times the inverse of (shift + T) times |v| e1."""
    total, pivots = np.zeros_like(diagonal), np.empty_like(diagonal)
    size = len(diagonal)
    squares = np.square(beside)
    for shift, weight in zip(shifts, weights, strict=True):
        pivots[-1] = 1.0 / (shift + diagonal[-1])
        for i in range(size - 2, -1, -1):
            pivots[i] = 1.0 / (shift + diagonal[i] - squares[i + 1] * pivots[i + 1])
        last = weight * beside[0] * pivots[0]
        total[0] += last
        for i in range(1, size):
            last = last * -beside[i] * pivots[i]
            total[i] += last
    return total
