"""The one product of a tapered update that touches the state, for dense and sparse tapers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy import sparse

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array

BLOCK_SIZE: Final = 512
"""State numbers at a time: what they need besides the result is bounded, and stays in cache."""


def is_sparse(taper: Any) -> bool:
    """Return whether it is one of scipy's sparse matrices or arrays."""
    return bool(sparse.issparse(taper))


def checked_taper(name: str, taper: Any, shape: tuple[int, int]) -> Any:
    """Return a taper of that shape and of finite numbers: an array, or a sparse matrix by rows.

    Raises
    ------
    DataError
        It is none.
    """
    if not is_sparse(taper):
        return finite_array(name, taper, shape)
    if taper.shape != shape:
        raise DataError(f"{name} has the wrong shape", got=taper.shape, allowed=shape)
    by_rows = taper.tocsr()
    finite_array(f"the stored numbers of the {name}", by_rows.data, (None,))
    return by_rows


def tapered_increment(anomalies: FloatArray, taper: Any, left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the increment ``right @ (taper * (anomalies.T @ left)).T`` of a slice of the state.

    As the columns of ``left`` have mean zero, the prior itself may stand for its anomalies, at the cost of
    the digits that its mean has more than its spread. Cost: n n_members n_obs twice; with a sparse taper,
    each block of 512 state numbers pays only for the observations that some of them reach.

    Parameters
    ----------
    anomalies : (n_members, n)
    taper : (n, n_obs)
        An array or a sparse array.
    left, right : (n_members, n_obs)

    Returns
    -------
    (n_members, n)
    """
    increment = np.empty(anomalies.shape)
    sparse_taper = is_sparse(taper)
    for start in range(0, anomalies.shape[1], BLOCK_SIZE):
        block = slice(start, start + BLOCK_SIZE)
        if sparse_taper:
            weights, reached = _compressed(taper[block])
            cross = anomalies[:, block].T @ left[:, reached]
            increment[:, block] = right[:, reached] @ (weights * cross).T
        else:
            increment[:, block] = right @ (taper[block] * (anomalies[:, block].T @ left)).T
    return increment


def _compressed(rows: Any) -> tuple[FloatArray, Any]:
    """Return the columns that a sparse block has numbers in, as an array, and which they are."""
    reached = np.unique(rows.indices)
    weights: FloatArray = np.asarray(rows[:, reached].toarray(), dtype=np.float64)
    return weights, reached
