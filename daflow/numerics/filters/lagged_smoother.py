r"""The ensemble Kalman smoother: what an analysis learns, told to earlier times as well.

The transform of an analysis is a combination of members, and a member is a whole trajectory: applied to the
ensembles of earlier times, kept up to a lag, it updates these with the new observations. Transforms of
several analyses are multiplied first, so that an earlier time costs one product of matrices, whenever
it is asked for.

Source: Evensen & van Leeuwen (2000), Monthly Weather Review 128, 1852. Cohn, Sivakumaran & Todling (1994),
the same journal 122, 2838 (fixed lag).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daflow.numerics.arrays.validation import FloatArray


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
