"""Local systems, many at a time and compiled: imported where numba is installed, and only when needed.

`LANES` points side by side are one lane each of every array here: the same steps are taken for all of them,
so that the processor's vectors are full however small the systems are. The points of a group share the
observations that any of them hears; an observation that a point does not hear has a weight of 0 there, which
leaves its equations apart from the others.

`daflow.numerics.localization.local_systems` says what each function does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from daflow.numerics.arrays.compiling import compiled
from daflow.numerics.arrays.inverse_root import shifted_inverses
from daflow.numerics.localization.cells import FloatArray, IntArray
from daflow.numerics.localization.local_systems import LocalSystem, largest_eigenvalue

LANES: Final = 48
"""Enough for the compiler to use vectors, few enough for the systems to stay in the cache."""

Array = FloatArray
Work = tuple[Array, ...]
"""The diagonal of T and what is beside it, two arrays for whatever is in hand, and the reflectors' tau."""


@compiled
def _hear(weights: Array, start: int, near: IntArray, roots: Array) -> int:
    """Find the observations that any point of a group hears, and the roots of their weights."""
    width = min(LANES, weights.shape[1] - start)
    n_near = 0
    for o in range(weights.shape[0]):
        total = 0.0
        for lane in range(width):
            total += weights[o, start + lane]
        if total > 0.0:
            near[n_near] = o
            for lane in range(width):
                roots[n_near, lane] = np.sqrt(weights[o, start + lane])
            for lane in range(width, LANES):
                roots[n_near, lane] = 0.0
            n_near += 1
    return n_near


@compiled
def _among_observations(
    gram: Array,
    heard: Array,
    start: int,
    near: IntArray,
    roots: Array,
    n_near: int,
    system: Array,
    vector: Array,
) -> None:
    """Fill in the system of a group: one equation an observation."""
    width = min(LANES, heard.shape[1] - start)
    for i in range(n_near):
        for lane in range(width):
            vector[i, lane] = roots[i, lane] * heard[near[i], start + lane]
        for lane in range(width, LANES):
            vector[i, lane] = 0.0
        for j in range(i + 1):
            shared = gram[near[i], near[j]]
            for lane in range(LANES):
                system[i, j, lane] = roots[i, lane] * roots[j, lane] * shared


@compiled
def _among_members(
    anomalies: Array,
    block: Array,
    begin: int,
    width: int,
    near: IntArray,
    roots: Array,
    n_near: int,
    system: Array,
    vector: Array,
) -> None:
    """Fill in the system of a group: one equation a member."""
    for i in range(block.shape[0]):
        for lane in range(width):
            vector[i, lane] = block[i, begin + lane]
        for lane in range(width, LANES):
            vector[i, lane] = 0.0
        for j in range(i + 1):
            for lane in range(LANES):
                system[i, j, lane] = 0.0
            for o in range(n_near):
                shared = anomalies[near[o], i] * anomalies[near[o], j]
                for lane in range(LANES):
                    system[i, j, lane] += roots[o, lane] * roots[o, lane] * shared


@compiled
def _gains_of_observations(
    vector: Array, start: int, near: IntArray, roots: Array, n_near: int, gains: Array
) -> None:
    for i in range(n_near):
        for lane in range(min(LANES, gains.shape[1] - start)):
            gains[near[i], start + lane] = roots[i, lane] * vector[i, lane]


@compiled
def _gains_of_members(
    anomalies: Array, vector: Array, start: int, near: IntArray, roots: Array, n_near: int, gains: Array
) -> None:
    for o in range(n_near):
        for lane in range(min(LANES, gains.shape[1] - start)):
            total = 0.0
            for i in range(anomalies.shape[1]):
                total += anomalies[near[o], i] * vector[i, lane]
            gains[near[o], start + lane] = roots[o, lane] * roots[o, lane] * total


@compiled
def _solve(system: Array, vector: Array, column: Array, size: int) -> None:
    """Turn v into the solution x of (1 + M) x = v by Cholesky, for all lanes."""
    for k in range(size):
        for lane in range(LANES):
            column[k, lane] = 1.0 / np.sqrt(1.0 + system[k, k, lane])
            vector[k, lane] *= column[k, lane]
        for i in range(k + 1, size):
            for lane in range(LANES):
                column[i, lane] = system[i, k, lane] * column[k, lane]
            for lane in range(LANES):
                vector[i, lane] -= column[i, lane] * vector[k, lane]
        _take_off(system, column, k + 1, size)
        for i in range(k, size):
            for lane in range(LANES):
                system[i, k, lane] = column[i, lane]
    _substitute_back(system, vector, size)


@compiled
def _take_off(system: Array, column: Array, first: int, size: int) -> None:
    """Subtract a column times itself from the lower part of what is left of a system."""
    for i in range(first, size):
        for j in range(first, i + 1):
            for lane in range(LANES):
                system[i, j, lane] -= column[i, lane] * column[j, lane]


@compiled
def _substitute_back(system: Array, vector: Array, size: int) -> None:
    for k in range(size - 1, -1, -1):
        for lane in range(LANES):
            vector[k, lane] *= system[k, k, lane]
        for i in range(k):
            for lane in range(LANES):
                vector[i, lane] -= system[k, i, lane] * vector[k, lane]


@compiled
def _reflect(column: Array, first: int, size: int, beta: Array, tau: Array) -> None:
    """Turn a column into the reflector u, u[first] = 1, of 1 - tau u u' that makes it (beta, 0, ..., 0)."""
    for lane in range(LANES):
        tau[lane] = 0.0
    for i in range(first + 1, size):
        for lane in range(LANES):
            tau[lane] += column[i, lane] * column[i, lane]
    for lane in range(LANES):
        head, rest = column[first, lane], tau[lane]
        norm = np.sqrt(head * head + rest)
        beta[lane] = head if rest == 0.0 else -np.copysign(norm, head)
        tau[lane] = 0.0 if rest == 0.0 else (beta[lane] - head) / beta[lane]
        column[first, lane] = 0.0 if rest == 0.0 else 1.0 / (head - beta[lane])
    for i in range(first + 1, size):
        for lane in range(LANES):
            column[i, lane] *= column[first, lane]
    for lane in range(LANES):
        column[first, lane] = 1.0


@compiled
def _multiply(system: Array, column: Array, product: Array, first: int, size: int) -> None:
    """Multiply what is left of M, of which only the lower part is there, by a column."""
    for i in range(first, size):
        for lane in range(LANES):
            product[i, lane] = system[i, i, lane] * column[i, lane]
    for i in range(first, size):
        for j in range(first, i):
            for lane in range(LANES):
                product[i, lane] += system[i, j, lane] * column[j, lane]
            for lane in range(LANES):
                product[j, lane] += system[i, j, lane] * column[i, lane]


@compiled
def _fold(system: Array, column: Array, product: Array, tau: Array, first: int, size: int) -> None:
    """Replace what is left of M by H M H, H = 1 - tau u u'."""
    _multiply(system, column, product, first, size)
    half = np.zeros(LANES)
    for i in range(first, size):
        for lane in range(LANES):
            product[i, lane] *= tau[lane]
            half[lane] += 0.5 * tau[lane] * product[i, lane] * column[i, lane]
    for i in range(first, size):
        for lane in range(LANES):
            product[i, lane] -= half[lane] * column[i, lane]
    for i in range(first, size):
        for j in range(first, i + 1):
            for lane in range(LANES):
                system[i, j, lane] -= column[i, lane] * product[j, lane] + product[i, lane] * column[j, lane]


@compiled
def _tridiagonalise(system: Array, vector: Array, work: Work, size: int) -> None:
    """Turn M into Q T Q' with v = |v| Q e1: T in ``work``, the reflectors in the lower part of M and in v."""
    diagonal, beside, column, product, taus = work
    for k in range(-1, size - 1):
        for i in range(k + 1, size):
            for lane in range(LANES):
                column[i, lane] = vector[i, lane] if k < 0 else system[i, k, lane]
        _reflect(column, k + 1, size, beside[k + 1], taus[k + 1])
        _fold(system, column, product, taus[k + 1], k + 1, size)
        for i in range(k + 1, size):
            for lane in range(LANES):
                if k < 0:
                    vector[i, lane] = column[i, lane]
                else:
                    system[i, k, lane] = column[i, lane]
    for i in range(size):
        for lane in range(LANES):
            diagonal[i, lane] = system[i, i, lane]


@compiled
def _eliminate(diagonal: Array, beside: Array, pivot: Array, shift: float, size: int) -> None:
    """Find the inverse pivots of shift + T, from the last row up."""
    for lane in range(LANES):
        pivot[size - 1, lane] = 1.0 / (shift + diagonal[size - 1, lane])
    for i in range(size - 2, -1, -1):
        for lane in range(LANES):
            off = beside[i + 1, lane]
            pivot[i, lane] = 1.0 / (shift + diagonal[i, lane] - off * off * pivot[i + 1, lane])


@compiled
def _sum_of_inverses(work: Work, shifts: Array, terms: Array, total: Array, size: int) -> None:
    """Sum term / (shift + T) times |v| e1 over the shifts."""
    diagonal, beside, pivot, _, _ = work
    last = np.empty(LANES)
    for i in range(size):
        for lane in range(LANES):
            total[i, lane] = 0.0
    for number in range(len(shifts)):
        _eliminate(diagonal, beside, pivot, shifts[number], size)
        for lane in range(LANES):
            last[lane] = terms[number] * beside[0, lane] * pivot[0, lane]
            total[0, lane] += last[lane]
        for i in range(1, size):
            for lane in range(LANES):
                last[lane] *= -beside[i, lane] * pivot[i, lane]
            for lane in range(LANES):
                total[i, lane] += last[lane]


@compiled
def _turn_back(system: Array, vector: Array, taus: Array, total: Array, size: int) -> None:
    """Replace y by Q y."""
    product = np.empty(LANES)
    for k in range(size - 2, -2, -1):
        for lane in range(LANES):
            product[lane] = 0.0
        for i in range(k + 1, size):
            for lane in range(LANES):
                product[lane] += (vector[i, lane] if k < 0 else system[i, k, lane]) * total[i, lane]
        for i in range(k + 1, size):
            for lane in range(LANES):
                reflector = vector[i, lane] if k < 0 else system[i, k, lane]
                total[i, lane] -= taus[k + 1, lane] * product[lane] * reflector


@compiled
def _gains(anomalies: Array, gram: Array, weights: Array, block: Array, begin: int, heard: Array) -> None:
    """Turn what each observation hears of each point into the gains, in place."""
    n_obs, n_members = anomalies.shape
    most = min(n_obs, n_members)
    system, vector = np.empty((most, most, LANES)), np.empty((most, LANES))
    column = np.empty((most, LANES))
    near, roots = np.empty(n_obs, np.int64), np.empty((n_obs, LANES))
    for start in range(0, weights.shape[1], LANES):
        width = min(LANES, weights.shape[1] - start)
        n_near = _hear(weights, start, near, roots)
        if n_near <= n_members:
            _among_observations(gram, heard, start, near, roots, n_near, system, vector)
            _solve(system, vector, column, n_near)
        else:
            _among_members(anomalies, block, begin + start, width, near, roots, n_near, system, vector)
            _solve(system, vector, column, n_members)
        for o in range(n_obs):
            for lane in range(width):
                heard[o, start + lane] = 0.0
        if n_near <= n_members:
            _gains_of_observations(vector, start, near, roots, n_near, heard)
        else:
            _gains_of_members(anomalies, vector, start, near, roots, n_near, heard)


@compiled
def _root_gains(
    anomalies: Array,
    gram: Array,
    weights: Array,
    block: Array,
    begin: int,
    heard: Array,
    mean_gains: Array,
    shifts: Array,
    terms: Array,
) -> None:
    """Turn what each observation hears into the gains of the anomalies, in place, and those of the mean."""
    n_obs, n_members = anomalies.shape
    most = min(n_obs, n_members)
    system, vector, total = np.empty((most, most, LANES)), np.empty((most, LANES)), np.empty((most, LANES))
    work = np.empty((5, most, LANES))
    parts = (work[0], work[1], work[2], work[3], work[4])
    near, roots = np.empty(n_obs, np.int64), np.empty((n_obs, LANES))
    one = np.ones(1)
    for start in range(0, weights.shape[1], LANES):
        width = min(LANES, weights.shape[1] - start)
        n_near = _hear(weights, start, near, roots)
        size = min(n_near, n_members)
        if n_near <= n_members:
            _among_observations(gram, heard, start, near, roots, n_near, system, vector)
        else:
            _among_members(anomalies, block, begin + start, width, near, roots, n_near, system, vector)
        _tridiagonalise(system, vector, parts, size)
        for o in range(n_obs):
            for lane in range(width):
                heard[o, start + lane] = 0.0
                mean_gains[o, start + lane] = 0.0
        for of_mean in range(2):
            out = mean_gains if of_mean else heard
            if of_mean:
                _sum_of_inverses(parts, one, one, total, size)
            else:
                _sum_of_inverses(parts, shifts, terms, total, size)
            _turn_back(system, vector, parts[4], total, size)
            if n_near <= n_members:
                _gains_of_observations(total, start, near, roots, n_near, out)
            else:
                _gains_of_members(anomalies, total, start, near, roots, n_near, out)


def gains(systems: Sequence[LocalSystem]) -> None:
    """Turn what is heard into the gains of each point, in place."""
    for each in systems:
        gram = each.anomalies @ each.anomalies.T
        _gains(each.anomalies, gram, _fixed(each.weights), each.block, each.begin, each.heard)


def root_gains(systems: Sequence[LocalSystem]) -> list[FloatArray]:
    """Turn what is heard into the gains of the anomalies, in place; return those of the mean."""
    shifts, terms = shifted_inverses(largest_eigenvalue(systems))
    of_mean = [np.empty_like(each.heard) for each in systems]
    for each, mean_gains in zip(systems, of_mean, strict=True):
        gram = each.anomalies @ each.anomalies.T
        given = (each.anomalies, gram, _fixed(each.weights), each.block, each.begin)
        _root_gains(*given, each.heard, mean_gains, shifts, terms)
    return of_mean


def _fixed(weights: FloatArray) -> FloatArray:
    """Return weights not to be written to: those of a plan may be so, and one type is compiled for."""
    fixed = np.ascontiguousarray(weights).view()
    fixed.flags.writeable = False
    return fixed
