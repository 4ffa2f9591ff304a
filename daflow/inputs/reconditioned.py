"""Covariances of observation errors from the user's files, brought closer to what can be inverted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.config.observations import BlockError, DenseError
from daflow.config.quality import ReconditionSettings
from daflow.errors import DaflowError, DataError
from daflow.numerics.obs_error.dense_covariance import RECONDITION
from daflow.numerics.obs_error.reconditioning import Reconditioned, recondition, recondition_correlation
from daflow.ports import FloatArray

KEY = "observations.error.recondition"

ErrorArrays = Mapping[str, NDArray[Any]]


def reconditioned(settings: DenseError | BlockError, arrays: ErrorArrays) -> tuple[ErrorArrays, str]:
    """Return the arrays of a covariance with its eigenvalues raised as the settings say, and what was done.

    Each block is brought by itself to what is asked: a fraction is one of its own condition number.

    Raises
    ------
    daflow.errors.DataError
        A matrix is no covariance at all: not symmetric, not finite, no eigenvalue above 0.
    daflow.errors.CombinationError
        A fraction is asked for where the smallest eigenvalue is not above 0, or it cannot be met.
    """
    asked = settings.recondition
    if asked is None:
        return arrays, ""
    if isinstance(settings, DenseError):
        found = _one(settings, asked, arrays["matrix"])
        return {"matrix": found.matrix}, _told(asked, [found])
    made = [_one(settings, asked, block) for block in blocks_of(arrays)]
    flat = np.concatenate([block.matrix.ravel() for block in made])
    return {"blocks": flat, "block_sizes": arrays["block_sizes"]}, _told(asked, made)


def blocks_of(arrays: ErrorArrays) -> list[FloatArray]:
    """Return the matrices (n, n) that lie one behind the other in ``blocks``.

    Raises
    ------
    daflow.errors.DataError
        They do not have the sizes that ``block_sizes`` says.
    """
    flat, sizes = arrays["blocks"], arrays["block_sizes"].tolist()
    stops = np.cumsum([size**2 for size in sizes])
    if flat.size != stops[-1]:
        raise DataError(
            "the blocks of the observations' errors do not have their sizes",
            got=f"{flat.size} numbers",
            allowed=f"{stops[-1]} for sizes {sizes}",
        )
    return [part.reshape(n, n) for part, n in zip(np.split(flat, stops[:-1]), sizes, strict=True)]


def variances_of(arrays: ErrorArrays) -> FloatArray:
    """Return the diagonal (n_obs,) of a covariance that is given as a matrix or in blocks."""
    matrices = [arrays["matrix"]] if "matrix" in arrays else blocks_of(arrays)
    return np.concatenate([np.diagonal(matrix) for matrix in matrices]).astype(np.float64)


def cure_of(error: DaflowError, arrays: ErrorArrays) -> str | None:
    """Return what to do about an error of a covariance; of one that can be reconditioned, by which key."""
    if error.do != RECONDITION:
        return error.do
    typical = float(np.median(np.abs(variances_of(arrays))))
    return (
        f"check the correlations; or set {KEY}: {{way: minimum_threshold, number: {0.01 * typical:.3g}}}: "
        "smaller eigenvalues are raised to that number (here a hundredth of the median variance)"
    )


def _one(settings: DenseError | BlockError, asked: ReconditionSettings, matrix: FloatArray) -> Reconditioned:
    act = recondition if asked.on == "covariance" else recondition_correlation
    try:
        return act(matrix, asked.way, asked.number)
    except DaflowError as error:
        do = error.do if error.do is None else f"{error.do} (in {KEY})"
        raise type(error)(
            f"{settings.file}: {error.what}", got=error.got, allowed=error.allowed, do=do
        ) from error


def _told(asked: ReconditionSettings, made: Sequence[Reconditioned]) -> str:
    worst = max(made, key=lambda each: each.condition_before)
    which = f"{len(made)} blocks, of the worst the" if len(made) > 1 else "the"
    (low, high), (raised, highest) = worst.eigenvalues_before, worst.eigenvalues_after
    return (
        f"the {asked.on} of the observation errors was reconditioned ({asked.way} {asked.number:g}): "
        f"{which} eigenvalues from {low:.4g} to {high:.4g} became {raised:.4g} to {highest:.4g}, the "
        f"condition number {worst.condition_before:.4g} became {worst.condition_after:.4g}"
    )
