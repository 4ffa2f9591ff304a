r"""The ensemble Kalman smoother: what an analysis learns, told to earlier times as well.

The transform of an analysis is a combination of members, and a member is a whole trajectory: applied to the
ensembles of earlier times, kept up to a lag, it updates these with the new observations. Transforms of
several analyses are `composed` first, so that an earlier time costs one product of matrices, whenever
it is asked for.

Source: Evensen & van Leeuwen (2000), Monthly Weather Review 128, 1852. Cohn, Sivakumaran & Todling (1994),
the same journal 122, 2838 (fixed lag).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daflow.errors import ConfigError, DataError
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.ensemble_transform import EnsembleTransform


def composed(transforms: Sequence[EnsembleTransform]) -> EnsembleTransform:
    """Return the one transform that does what several do one after the other.

    Laws: it equals applying each in turn; it is associative. Cost: n_members^3 a transform.

    Parameters
    ----------
    transforms
        In the order in which they are applied, all of the same number of members.

    Raises
    ------
    DataError
        There is none, or they are of different ensembles.
    """
    if not transforms or len({len(one.mean_weights) for one in transforms}) != 1:
        raise DataError(
            "transforms cannot be composed",
            got=[len(one.mean_weights) for one in transforms],
            allowed="one or more, all of as many members",
        )
    weights, mixing = np.zeros(len(transforms[0].mean_weights)), np.eye(len(transforms[0].mean_weights))
    for one in transforms:
        weights = weights + one.mean_weights @ mixing
        mixing = one.anomaly_transform @ mixing
    return EnsembleTransform(weights, mixing)


def composed_as_members_leave(
    members: Sequence[Sequence[int]], matrices: Sequence[FloatArray | None]
) -> FloatArray:
    """Return the matrix (n_last, n_first) that does what several do, where members leave between them.

    Who leaves before an analysis has still had a part in those before. The rows sum to one if those of the
    matrices do.

    Laws: it equals taking out who left and multiplying, analysis by analysis; where nobody leaves it is the
    product of the matrices. Cost: n_members^3 an analysis.

    Parameters
    ----------
    members
        Who is in each analysis, by number: in each a part of those in the one before, at least one analysis.
    matrices
        Of each analysis (n_members, n_members), posterior from prior, in the order in which they are applied;
        ``None``: it changed nothing.
    """
    before, product = members[0], np.eye(len(members[0]))
    for present, matrix in zip(members, matrices, strict=True):
        row_of = {member: row for row, member in enumerate(before)}
        product = product[[row_of[member] for member in present]]
        product = product if matrix is None else matrix @ product
        before = present
    return product


def transforms_for(step: int, last: int, lag: int) -> range:
    """Return which analyses, from that of the step itself on, update the ensemble of a step.

    Laws: a lag of 0 is the filter; none beyond the lag, none beyond the last analysis.

    Parameters
    ----------
    step
        Of the ensemble, 0 or more.
    last
        The number of the last analysis there is.
    lag
        By how many steps observations reach back, 0 or more.
    """
    if step < 0 or lag < 0:
        raise ConfigError("the lag of a smoother", got=f"step {step}, lag {lag}", allowed="0 or more, both")
    return range(step, min(step + lag, last) + 1)
