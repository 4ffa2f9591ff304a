r"""The global update of an ensemble in memory, a few columns at a time, in place.

Everything but one matrix product is done in the space of members and observations: the posterior of
any slice of the state is ``T @ prior`` (`daflow.numerics.inversion.updates.global_transform`). Columns go
through one buffer that is used again and again, so that nothing of the slice's size is made: first-touched
memory costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray, all_finite, finite_array
from daflow.numerics.inversion.thin_transform import ThinTransform
from daflow.numerics.inversion.updates import InversionSettings, global_transform
from daflow.numerics.obs_error.covariance import Covariance

Ensemble = NDArray[Any]
"""(n_members, n), float64 or float32."""
Work = Callable[[Ensemble, Ensemble, list[slice]], None]
"""What is done with some blocks of columns of the prior and the posterior."""

LONGEST_BLOCK: Final = 10_240
"""Columns that are read at once: by measurement, shorter pieces of a row leave the memory waiting (with 1000
the whole takes up to three times as long beside busy neighbours), longer ones gain nothing."""

BUFFER_NUMBERS: Final = 2**21
"""Numbers at most of the buffer that the columns pass through: 16 MiB of float64."""

_DEFAULT: Final = InversionSettings()


def update_in_place(
    prior: Ensemble,
    predicted: ArrayLike,
    perturbed_observations: ArrayLike,
    obs_error: Covariance | ArrayLike,
    settings: InversionSettings = _DEFAULT,
    *,
    n_threads: int = 1,
) -> None:
    """Turn a prior ensemble into the posterior of an update with perturbed observations, where it lies.

    Laws: equals `daflow.numerics.inversion.updates.perturbed_observation_update` without a taper; the same
    bits whatever the number of threads; a state in which all members agree is left alone exactly, and so is
    every state where the predictions are constant.

    Parameters
    ----------
    prior : (n_members, n_state)
        float64 or float32, writeable; a view into a larger array is fine. Rows or columns that lie
        together in memory are fast, in any other layout it is slow. Where an error is raised it is unchanged.
    predicted : (n_members, n_obs)
    perturbed_observations : (n_members, n_obs)
        The observations with a draw of N(0, alpha R) added for each member.
    obs_error
        R: a covariance, variances (n_obs,), or a matrix (n_obs, n_obs).
    settings
        How the innovation covariance is made and inverted.
    n_threads
        Threads that share the columns. Hold the BLAS library to one thread then, or they trip over each
        other: ``with threadpoolctl.threadpool_limits(1): ...``.

    Raises
    ------
    DataError, ConfigError, CombinationError
        As `daflow.numerics.inversion.updates.perturbed_observation_update`; a prior that cannot be written to
        or is of another type; fewer than one thread.

    Notes
    -----
    Cost 2 n_state n_members^2 for the product; memory up to 16 MiB a thread, n_members^2, and blocks of
    the observations.
    """
    _check_ensemble("prior", prior, writeable=True)
    transform = global_transform(predicted, perturbed_observations, obs_error, settings)
    if not all_finite(prior):
        finite_array("prior", prior, (None, None))
    transform_members(transform, prior, prior, n_threads)


def transform_members(
    transform: FloatArray | ThinTransform, prior: Ensemble, posterior: Ensemble, n_threads: int = 1
) -> None:
    r"""Write ``transform @ prior`` into the posterior, which may be the prior itself.

    What is multiplied are the departures from the first member, :math:`T x = x_0 + T (x - x_0)` as the rows
    of T sum to one: what all members share, however large, costs no digits.

    Laws: each column depends on itself alone, and what is not finite stays in its own; the same bits in
    place and out of place, and for any number of threads; where all members agree, so do the posteriors,
    exactly; the identity changes nothing; with u the unit roundoff of the ensemble's type, no number is
    further from the exact product than
    :math:`u (n_{members} + 4) (|x_0| + \sum_j |T_{ij}| |x_j - x_0|)`. So float32 loses what storing the
    result in float32 loses, times a factor that in practice is a few units.

    Parameters
    ----------
    transform : (n_members, n_members)
        Rows of sum one; or its thin factors, of which the bound holds with :math:`|W| |A|^T` for |T|.
    prior, posterior : (n_members, n)
        float64 or float32, both the same; apart from each other, or one and the same.
    n_threads
        Threads that share the columns, each with a buffer of its own.

    Raises
    ------
    DataError
        Shapes or types that disagree, rows that do not sum to one, a posterior that cannot be written to.
    ConfigError
        Fewer than one thread.
    """
    _check_ensemble("prior", prior, writeable=False)
    _check_ensemble("posterior", posterior, writeable=True)
    _check_fit(transform, prior, posterior)
    if n_threads < 1:
        raise ConfigError("an update needs a thread", got=n_threads, allowed="1 or more")
    n_members = len(prior)
    if isinstance(transform, ThinTransform):
        factors = (transform.weights.astype(prior.dtype), transform.anomalies.T.astype(prior.dtype))
        work: Work = partial(_add_products, *factors)
    elif np.array_equal(transform, np.eye(n_members)):
        if posterior is not prior:
            posterior[...] = prior
        return
    else:
        # One more column for the first member: the product adds it back without a pass of its own.
        weights = np.ones((n_members, n_members + 1), prior.dtype)
        weights[:, :n_members] = transform
        work = partial(_transform_blocks, weights)
    blocks = list(_blocks(n_members, prior.shape[1]))
    shares = [blocks[first::n_threads] for first in range(min(n_threads, len(blocks)))]
    if len(shares) == 1:
        work(prior, posterior, blocks)
        return
    with ThreadPoolExecutor(n_threads) as threads:
        for done in [threads.submit(work, prior, posterior, share) for share in shares]:
            done.result()


def _blocks(n_members: int, n: int) -> Iterator[slice]:
    size = max(64, min(LONGEST_BLOCK, BUFFER_NUMBERS // (n_members + 1) // 64 * 64))
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _transform_blocks(weights: Ensemble, prior: Ensemble, posterior: Ensemble, blocks: list[slice]) -> None:
    if not blocks:
        return
    n_members = len(prior)
    buffer = np.empty((n_members + 1, max(block.stop - block.start for block in blocks)), prior.dtype)
    # What is not finite stays in its column, where whoever asked for the product looks for it.
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks:
            departures = buffer[:, : block.stop - block.start]
            departures[n_members] = prior[0, block]
            np.subtract(prior[:, block], departures[n_members], out=departures[:n_members])
            np.matmul(weights, departures, out=posterior[:, block])


def _add_products(
    weights: Ensemble, anomalies: Ensemble, prior: Ensemble, posterior: Ensemble, blocks: list[slice]
) -> None:
    if not blocks:
        return
    buffer = np.empty((len(prior), max(block.stop - block.start for block in blocks)), prior.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks:
            passing = buffer[:, : block.stop - block.start]
            np.subtract(prior[:, block], prior[0, block], out=passing)
            np.matmul(weights, anomalies @ passing, out=passing)
            np.add(prior[:, block], passing, out=posterior[:, block])


def _check_ensemble(name: str, ensemble: Any, *, writeable: bool) -> None:
    if not isinstance(ensemble, np.ndarray) or ensemble.ndim != 2:
        got = getattr(ensemble, "shape", type(ensemble).__name__)
        raise DataError(f"{name} is no array of members and numbers", got=got, allowed="(n_members, n)")
    if np.ma.isMaskedArray(ensemble):
        raise DataError(f"{name} is masked", allowed="finite numbers", do="drop what is masked")
    if ensemble.dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise DataError(
            f"{name} cannot be updated where it lies",
            got=ensemble.dtype,
            allowed="float64 or float32 in the machine's byte order",
            do=f"update a copy: {name}.astype(float)",
        )
    if writeable and not ensemble.flags.writeable:
        raise DataError(f"{name} cannot be written to", do=f"update a copy: {name}.copy()")


def _check_fit(transform: FloatArray | ThinTransform, prior: Ensemble, posterior: Ensemble) -> None:
    n_members = len(prior)
    if transform.shape != (n_members, n_members):
        allowed = (n_members, n_members)
        raise DataError("the transform does not fit the ensemble", got=transform.shape, allowed=allowed)
    if (posterior.shape, posterior.dtype) != (prior.shape, prior.dtype):
        raise DataError(
            "the posterior does not fit the prior",
            got=f"{posterior.shape} of {posterior.dtype}",
            allowed=f"{prior.shape} of {prior.dtype}",
        )
    if isinstance(transform, ThinTransform):
        sums = 1 + transform.weights @ transform.anomalies.sum(axis=0)
        sizes = 1 + np.abs(transform.weights) @ np.abs(transform.anomalies).sum(axis=0)
    else:
        sums, sizes = transform.sum(axis=1), 1 + np.abs(transform).sum(axis=1)
    if not (np.abs(sums - 1) <= 1e-8 * sizes).all():
        raise DataError("the rows of the transform do not sum to one", got=sums.tolist(), allowed="1")
