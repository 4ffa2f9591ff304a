"""Ensembles: members first, two at least."""

from __future__ import annotations

from numpy.typing import ArrayLike

from daflow.errors import DataError
from daflow.numerics.arrays.validation import FloatArray, finite_array


def ensemble_of(name: str, values: ArrayLike, n: int | None = None) -> FloatArray:
    """Return a finite array (n_members, n) of two members or more.

    Raises
    ------
    DataError
        It is none.
    """
    ensemble = finite_array(name, values, (None, n))
    checked_members(len(ensemble))
    return ensemble


def checked_members(n_members: int) -> int:
    """Return the number of members, if they make an ensemble.

    Raises
    ------
    DataError
        There are fewer than two.
    """
    if n_members < 2:
        raise DataError("an ensemble needs two members at least", got=n_members, allowed="2 or more")
    return n_members


def mean_of(ensemble: FloatArray) -> FloatArray:
    """Return the mean (n,) of an ensemble (n_members, n), exact where all members agree."""
    mean: FloatArray = ensemble[0] + (ensemble - ensemble[0]).mean(axis=0)
    return mean
