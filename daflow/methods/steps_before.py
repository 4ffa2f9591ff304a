"""What a method finds of its steps before: in a branch, these may have been another method's."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from daflow.errors import CombinationError
from daflow.ports import Arrays


def left_before(arrays: Arrays, name: str, step: int, what: str) -> NDArray[Any]:
    """Return an array that the step before left.

    Parameters
    ----------
    arrays
        What it left, all of it.
    name
        Of the array.
    step
        Which one asks.
    what
        Asks: the words of the workflow file for it.

    Raises
    ------
    daflow.errors.CombinationError
        It left none: its method was another one.
    """
    if name not in arrays:
        raise CombinationError(
            f"{what} goes on from what its own steps before left, and these were another method's",
            got=f"step {step}, before which nothing is known of {name.replace('_', ' ')}",
            allowed="step 0, or the same method from step 0 on",
            do="branch at step 0: daflow analyse RUN --step 0 --set ...",
        )
    return arrays[name]
