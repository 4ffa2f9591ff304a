"""The covariance of the observations' errors: arrays in the user's files, and the operator made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.observations import BlockError, DenseError, DiagonalError, ErrorSettings, LowRankError
from daflow.errors import DataError
from daflow.inputs.arrays import StoredArray, open_array
from daflow.inputs.reconditioned import blocks_of
from daflow.numerics.obs_error.covariance import (
    BlockDiagonalCovariance,
    Covariance,
    DenseCovariance,
    DiagonalCovariance,
    LowRankPlusDiagonalCovariance,
)
from daflow.ports import FloatArray, Observations

ErrorArrays = Mapping[str, NDArray[Any]]


def covariance_of(observations: Observations) -> Covariance:
    """Return the covariance R of the observations' errors, in the form in which it was given.

    Law: the square roots of its diagonal are the column ``error_std``.

    Raises
    ------
    daflow.errors.DataError
        It is not symmetric and positive definite, or its arrays disagree.
    """
    arrays = observations.error
    for names, make in _FORMS.items():
        if set(arrays) == names:
            return make(observations)
    raise DataError(
        "the covariance of the observations' errors has no known form",
        got=", ".join(arrays),
        allowed="; ".join(", ".join(sorted(names)) or "nothing" for names in _FORMS),
    )


def read_error(settings: ErrorSettings, n_obs: int) -> ErrorArrays:
    """Return the arrays of `daflow.ports.Observations.error`; none where the errors are independent.

    Raises
    ------
    daflow.errors.DataError
        A file or an array is missing, or an array does not fit the number of observations.
    """
    return _READ[type(settings)](settings, n_obs)


def _diagonal(settings: DiagonalError, n_obs: int) -> ErrorArrays:
    del settings, n_obs
    return {}


def _dense(settings: DenseError, n_obs: int) -> ErrorArrays:
    default = DenseError.model_fields["array"].default
    # An array without a name has no use for the name that stands there unless another is given.
    name = None if settings.array == default else settings.array
    return {"matrix": _numbers(open_array(settings.file, name, default), (n_obs, n_obs))}


def _blocks(settings: BlockError, n_obs: int) -> ErrorArrays:
    blocks = []
    for name in settings.arrays:
        stored = open_array(settings.file, name)
        if len(stored.shape) != 2 or stored.shape[0] != stored.shape[1]:
            raise _misshapen(stored, "(n, n): a square block")
        blocks.append(_numbers(stored, stored.shape))
    sizes = np.array([len(block) for block in blocks], dtype=np.int64)
    if sizes.sum() != n_obs:
        raise DataError(
            f"{settings.file}: the blocks do not cover the observations",
            got=f"{' + '.join(map(str, sizes))} = {sizes.sum()}",
            allowed=f"{n_obs} in all, one row an observation",
            do="list every block in the order of the observations",
        )
    return {"blocks": np.concatenate([block.ravel() for block in blocks]), "block_sizes": sizes}


def _low_rank(settings: LowRankError, n_obs: int) -> ErrorArrays:
    factor = open_array(settings.file, settings.factor)
    rank = factor.shape[1] if len(factor.shape) == 2 else 1
    variances = open_array(settings.file, settings.variances)
    return {"factor": _numbers(factor, (n_obs, rank)), "variances": _numbers(variances, (n_obs,))}


def _numbers(stored: StoredArray, shape: tuple[int, ...]) -> FloatArray:
    if stored.shape != shape:
        raise _misshapen(stored, f"{shape}, as there are {shape[0]} observations")
    return stored.whole().astype(np.float64)


def _misshapen(stored: StoredArray, allowed: str) -> DataError:
    return DataError(f"{stored.label}: has the wrong shape", got=stored.shape, allowed=allowed)


def _of_std(observations: Observations) -> Covariance:
    return DiagonalCovariance(np.asarray(observations.table["error_std"], dtype=np.float64) ** 2)


def _of_matrix(observations: Observations) -> Covariance:
    return DenseCovariance(observations.error["matrix"])


def _of_blocks(observations: Observations) -> Covariance:
    return BlockDiagonalCovariance(tuple(blocks_of(observations.error)))


def _of_factor(observations: Observations) -> Covariance:
    return LowRankPlusDiagonalCovariance(observations.error["factor"], observations.error["variances"])


_FORMS: Final[Mapping[frozenset[str], Callable[[Observations], Covariance]]] = {
    frozenset(): _of_std,
    frozenset({"matrix"}): _of_matrix,
    frozenset({"blocks", "block_sizes"}): _of_blocks,
    frozenset({"factor", "variances"}): _of_factor,
}
_READ: Final[Mapping[type[Any], Callable[[Any, int], ErrorArrays]]] = {
    DiagonalError: _diagonal,
    DenseError: _dense,
    BlockError: _blocks,
    LowRankError: _low_rank,
}
