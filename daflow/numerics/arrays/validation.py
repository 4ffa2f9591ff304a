"""The door of the numerics: what is not an array of finite numbers of the right shape goes no further."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError

FloatArray = NDArray[np.float64]


def finite_array(name: str, values: Any, shape: tuple[int | None, ...]) -> FloatArray:
    """Return values as finite float64 numbers of a given shape.

    Parameters
    ----------
    name
        What the array is called in messages.
    values
        Anything that numpy reads as an array of real numbers.
    shape
        The length of each axis; ``None`` leaves that length free.

    Raises
    ------
    DataError
        The values are not real numbers, have another shape, are masked, or are not all finite.
    """
    array = real_array(name, values)
    fits = array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"
        raise DataError(
            f"{name} has the wrong shape",
            got=array.shape,
            allowed=wanted,
            do="members lie on the first axis; transpose or select so that the shapes agree",
        )
    if not all_finite(array):
        bad = ~np.isfinite(array)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{name} has {int(bad.sum())} numbers that are not finite, the first at {list(first)}",
            got=float(array[first]),
            allowed="finite numbers",
            do="drop the members or observations that have them",
        )
    return array


def all_finite(array: NDArray[Any]) -> bool:
    """Return whether all numbers are finite, at the cost of a sum where they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only if every term is; one that overflows says nothing.
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def real_array(name: str, values: Any) -> FloatArray:
    """Return values as a float64 array of whatever shape.

    Raises
    ------
    DataError
        They are masked, or not real numbers.
    """
    if np.ma.is_masked(values):
        raise DataError(f"{name} is masked", allowed="finite numbers", do="drop what is masked")
    try:
        raw = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is no array: {error}", got=type(values).__name__) from error
    if raw.dtype.kind not in "biuf":
        raise DataError(f"{name} does not hold real numbers", got=raw.dtype, allowed="real numbers")
    return raw.astype(np.float64, copy=False)


def positive_number(name: str, value: Any) -> float:
    """Return a finite number above zero.

    Raises
    ------
    DataError
        It is none.
    """
    number = float(finite_array(name, value, ()))
    if number <= 0:
        raise DataError(f"{name} must be positive", got=number, allowed="above 0")
    return number


def frozen_copy(array: FloatArray) -> FloatArray:
    """Return a copy that cannot be written to: what was derived from it stays true."""
    copy = np.array(array, dtype=np.float64)
    copy.setflags(write=False)
    return copy


def positive_vector(name: str, values: Any) -> FloatArray:
    """Return a read-only copy of finite numbers above zero (n,).

    Raises
    ------
    DataError
        They are not; the message names the first that is not.
    """
    vector = finite_array(name, values, (None,))
    if vector.size == 0:
        raise DataError(f"{name} are empty", allowed="one number or more")
    if not (vector > 0).all():
        first = int(np.argmax(vector <= 0))
        raise DataError(
            f"{name} must be positive; number {first} is not",
            got=float(vector[first]),
            allowed="above 0",
            do="variances are squares of standard deviations; drop an observation that has none",
        )
    return frozen_copy(vector)


def symmetric_matrix(name: str, values: Any) -> FloatArray:
    """Return a square matrix of finite numbers, symmetric to 1e-10 of its largest, as exactly symmetric.

    Raises
    ------
    DataError
        It is none; the message names the pair that differs most.
    """
    matrix = finite_array(name, values, (None, None))
    if matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise DataError(f"{name} is not square", got=matrix.shape, allowed="(n, n), n at least 1")
    difference = np.abs(matrix - matrix.T)
    if difference.max() > 1e-10 * np.abs(matrix).max():
        row, column = (int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
        raise DataError(
            f"{name} is not symmetric: [{row}, {column}] differs most from [{column}, {row}]",
            got=f"{matrix[row, column]} and {matrix[column, row]}",
            allowed="equal numbers",
            do="give (matrix + matrix.T) / 2 if the difference is rounding",
        )
    return matrix if not difference.any() else 0.5 * (matrix + matrix.T)


def observation_rows(rows: FloatArray, n_obs: int) -> FloatArray:
    """Return rows (k, n_obs) or one row (n_obs,) as float64.

    Raises
    ------
    DataError
        Their length is another.
    """
    array = np.asarray(rows, dtype=np.float64)
    if array.ndim not in (1, 2) or array.shape[-1] != n_obs:
        raise DataError(
            "rows of observations do not fit their covariance",
            got=array.shape,
            allowed=f"(k, {n_obs}) or ({n_obs},)",
        )
    return array
