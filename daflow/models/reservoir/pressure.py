"""The pressure of incompressible flow: one sparse, symmetric, positive definite system a solve.

What makes it fast is that the pattern never changes: the elimination order that keeps the factors
sparse is sought once a forecast, and every later solve only fills numbers into a matrix already in
that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from daflow.errors import ModelFailed
from daflow.models.reservoir.network import FloatArray, IntArray, Network


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where the numbers of the system go.

    The unknown pressures are those of the first ``rank.size`` nodes; node ``i`` is row ``rank[i]`` of
    the matrix, whose columns ``indptr`` and ``indices`` describe. ``inner`` picks the connections between
    two unknowns; their numbers, theirs again, and the diagonal land at ``places``.
    """

    rank: IntArray
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]
    places: IntArray
    inner: IntArray
    outer: IntArray


def pattern(network: Network, n_unknown: int) -> Pattern:
    """Find an elimination order (minimum degree) and the places of all numbers in it."""
    inner = np.flatnonzero(network.second < n_unknown)
    outer = np.flatnonzero(network.second >= n_unknown)
    first, second = network.first[inner], network.second[inner]
    diagonal = np.arange(n_unknown)
    rows, columns = np.concatenate((first, second, diagonal)), np.concatenate((second, first, diagonal))
    # Any diagonally dominant matrix of this pattern has the same order; its numbers do not matter.
    numbers = np.concatenate((-np.ones(2 * first.size), np.bincount(first, minlength=n_unknown) + 8.0))
    numbers[2 * first.size :] += np.bincount(second, minlength=n_unknown)
    shape = (n_unknown, n_unknown)
    trial = _factor(sparse.csc_array((numbers, (rows, columns)), shape=shape), "MMD_AT_PLUS_A")
    rank = trial.perm_c.astype(np.intp)
    tags = sparse.csc_array((np.arange(rows.size), (rank[rows], rank[columns])), shape=shape)
    tags.sort_indices()
    places = np.empty(rows.size, dtype=np.intp)
    places[tags.data] = np.arange(rows.size)
    return Pattern(rank, tags.indices, tags.indptr, places, inner, outer)


def solve(
    network: Network, where: Pattern, conductance: FloatArray, source: FloatArray, fixed: FloatArray
) -> FloatArray:
    """Return the pressure of every node, bar.

    Parameters
    ----------
    network, where
        The connections and the pattern of the system.
    conductance
        (n_connections,) transmissibility times mobility, m3/day/bar.
    source
        (n_unknown,) what enters at each node, m3/day.
    fixed
        (n_nodes - n_unknown,) the pressures that are given, bar.

    Raises
    ------
    daflow.errors.ModelFailed
        The system has no unique solution in floating-point numbers.

    Notes
    -----
    Laws: linear between two ends of a uniform 1-D medium; the same whichever way the flow goes.
    """
    n_unknown = where.rank.size
    n_nodes = n_unknown + fixed.size
    diagonal = np.bincount(network.first, conductance, n_nodes)
    diagonal += np.bincount(network.second, conductance, n_nodes)
    numbers = np.empty(where.places.size)
    between = -conductance[where.inner]
    numbers[where.places] = np.concatenate((between, between, diagonal[:n_unknown]))
    # Pressures are sought above the lowest given one: small numbers lose fewer digits in differences.
    datum = float(fixed.min())
    known = np.concatenate((np.zeros(n_unknown), fixed - datum))
    edge = conductance[where.outer] * known[network.second[where.outer]]
    right = source + np.bincount(network.first[where.outer], edge, n_unknown)
    in_order = np.empty(n_unknown)
    in_order[where.rank] = right
    matrix = sparse.csc_array((numbers, where.indices, where.indptr), shape=(n_unknown, n_unknown))
    known[:n_unknown] = _factor(matrix, "NATURAL").solve(in_order)[where.rank]
    return known + datum


def _factor(
    matrix: sparse.csc_array[np.float64], order: Literal["NATURAL", "MMD_AT_PLUS_A"]
) -> SuperLU[np.float64]:
    """Factor a symmetric, diagonally dominant matrix: no pivoting, which would undo the order."""
    try:
        return splu(matrix, permc_spec=order, diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except RuntimeError as error:
        raise ModelFailed(
            "the pressure system of the reservoir model is singular",
            got=str(error),
            do="look for cells or wells that extreme permeabilities cut off from the rest",
        ) from error
