"""A member's numbers as they come, cut into chunks as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.numerics.arrays.precision import store_into
from daflow.ports import FloatArray


def rechunked(
    pieces: Iterable[FloatArray], n_state: int, out: NDArray[Any], whose: str
) -> Iterator[NDArray[Any]]:
    """Yield the numbers of pieces as chunks, each in the same memory; NaN fills up the last one.

    Laws: the chunks joined are the pieces joined, rounded to the type of ``out``, and NaN; nothing is yielded
    beyond ``n_state`` numbers. Memory: a piece.

    Parameters
    ----------
    pieces
        Arrays of any shape.
    n_state
        How many numbers they have together.
    out : (chunk,)
        What is filled and yielded again and again.
    whose
        Begins the message of an error.

    Raises
    ------
    daflow.errors.DataError
        The pieces have fewer numbers than the state, or more; or a number is too large for the type.
    """
    held, taken = 0, 0
    for piece in pieces:
        rest = piece.ravel()
        taken += rest.size
        if taken > n_state:
            break
        while rest.size:
            part, rest = rest[: out.size - held], rest[out.size - held :]
            store_into(out[held : held + part.size], part)
            held += part.size
            if held == out.size:
                yield out
                held = 0
    if taken != n_state:
        raise DataError(
            f"{whose} has not as many numbers as the state",
            got=f"{taken}{' or more' if taken > n_state else ''}",
            allowed=n_state,
            do="correct what it is drawn or read from",
        )
    if held:
        out[held:] = np.nan
        yield out
