"""How good predictions of several kinds are together: all in units of the observations' errors."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.ensembles import ensemble_of
from daflow.numerics.arrays.validation import FloatArray, finite_array
from daflow.numerics.diagnostics.crps import CrpsParts, crps_parts
from daflow.numerics.diagnostics.rank_histogram import divergence_from_uniform, shared_rank_histogram
from daflow.numerics.diagnostics.spread_skill import SpreadSkill, rms_spread, rmse, spread_skill

ADDED: Final = 0.5
"""What is added to each count of a rank histogram before its divergence: `divergence_from_uniform`."""
N_BINS: Final = 10
"""Bins of spread and skill, where there are as many observations."""


class Scores(NamedTuple):
    """Predictions against the truth, the observations being the cases."""

    rmse: float
    """Of the ensemble's mean."""
    spread: float
    """Root mean variance times sqrt((n + 1) / n): what `rmse` is where the truth might be a member."""
    crps: CrpsParts
    ranks: FloatArray
    """(n_members + 1,) how many cases have each rank of the truth among the members; members that equal it
    share its ranks."""
    divergence: float
    """Kullback-Leibler, of the ranks from the uniform, with `ADDED` in each bin."""
    skill: SpreadSkill


def scores_of(predicted: ArrayLike, truth: ArrayLike, deviations: ArrayLike) -> Scores:
    """Return how good predictions are, in units of the standard deviations of the observations' errors.

    Laws: units of the observations do not matter; the spread and the error of the whole are the root mean
    squares of those of the bins.

    Parameters
    ----------
    predicted : (n_members, n_obs)
        Two members or more.
    truth : (n_obs,)
        What the truth predicts, without errors.
    deviations : (n_obs,)
        Above 0.

    Raises
    ------
    daflow.errors.DataError
        Arrays that are not finite or whose shapes disagree.
    """
    scale = _deviations(deviations)
    members = ensemble_of("predicted", predicted, scale.size) / scale
    true = finite_array("truth", truth, scale.shape) / scale
    counts = shared_rank_histogram(members, true)
    return Scores(
        rmse=rmse(members, true),
        spread=rms_spread(members) * float(np.sqrt(1 + 1 / len(members))),
        crps=crps_parts(members, true),
        ranks=counts,
        divergence=divergence_from_uniform(counts, added=ADDED),
        skill=spread_skill(members, true, min(N_BINS, true.size)),
    )


def mean_misfits(
    predicted: ArrayLike, values: ArrayLike, deviations: ArrayLike, codes: NDArray[np.int64], n_groups: int
) -> FloatArray:
    """Return the mean misfit per observation of each group (n_groups,), over the members; NaN of none.

    Law: those of `daflow.numerics.diagnostics.misfit.misfit_by_group`, in one pass.

    Parameters
    ----------
    predicted : (n_members, n_obs)
    values, deviations : (n_obs,)
    codes : (n_obs,)
        The number of each observation's group.
    """
    scale = _deviations(deviations)
    off = (finite_array("predicted", predicted, (None, scale.size)) - np.asarray(values)) / scale
    squares = np.einsum("ij,ij->j", off, off) / len(off)
    sums, counts = (np.bincount(codes, each, n_groups) for each in (squares, np.ones(scale.size)))
    means: FloatArray = np.divide(sums, counts, out=np.full(n_groups, np.nan), where=counts > 0)
    return means


def _deviations(deviations: ArrayLike) -> FloatArray:
    scale = finite_array("standard deviations of the observations' errors", deviations, (None,))
    if scale.size == 0 or not (scale > 0).all():
        raise DataError(
            "standard deviations of the observations' errors",
            got=scale.min(initial=np.inf),
            allowed="one or more, above 0",
        )
    return scale
