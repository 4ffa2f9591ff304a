"""A member's numbers as they come, cut into chunks as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from daflow.errors import DataError
from daflow.ports import FloatArray
from daflow.records import Layout


def rechunked(pieces: Iterable[FloatArray], layout: Layout, whose: str) -> Iterator[FloatArray]:
    """Yield the numbers of pieces in arrays of ``layout.slice_size``, the last one maybe shorter.

    Laws: the arrays joined are the pieces joined; nothing is yielded beyond ``layout.n_state``. Memory: a
    slice and a piece.

    Raises
    ------
    daflow.errors.DataError
        The pieces have fewer numbers than the layout asks for, or more.
    """
    size, n_state = layout.slice_size, layout.n_state
    waiting: list[FloatArray] = []
    held, taken = 0, 0
    for piece in pieces:
        rest = piece.ravel()
        taken += rest.size
        if taken > n_state:
            break
        while held + rest.size >= size:
            head, rest = rest[: size - held], rest[size - held :]
            yield np.concatenate([*waiting, head]) if waiting else head
            waiting, held = [], 0
        if rest.size:
            waiting.append(rest)
            held += rest.size
    if taken != n_state:
        raise DataError(
            f"{whose} has not as many numbers as the state",
            got=f"{taken}{' or more' if taken > n_state else ''}",
            allowed=n_state,
            do="correct what it is drawn or read from",
        )
    if waiting:
        yield np.concatenate(waiting)
