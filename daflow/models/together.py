"""Several members in one call, each with an end of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from daflow.errors import DaflowError
from daflow.ports import FloatArray, MemberInput

Result = FloatArray | DaflowError
Read = TypeVar("Read")
Made = TypeVar("Made")


def forecast_members(
    given: Sequence[MemberInput],
    read: Callable[[MemberInput], Read],
    run: Callable[[Sequence[Read]], Sequence[Made | DaflowError]],
) -> list[Made | DaflowError]:
    """Return what each member's forecast comes to, such as its predictions, or why it comes to nothing.

    Parameters
    ----------
    given
        The members.
    read
        Takes from a member's input what the model needs, or raises what is wrong with it.
    run
        Forecasts all that could be read.

    Notes
    -----
    Law: the members that cannot be read do not keep the others from being forecast.
    """
    results: list[Made | DaflowError | None] = []
    readable = []
    for member in given:
        try:
            readable.append(read(member))
            results.append(None)
        except DaflowError as problem:
            results.append(problem)
    forecasts = iter(run(readable)) if readable else iter(())
    return [next(forecasts) if result is None else result for result in results]


def alone(results: Sequence[Made | DaflowError]) -> Made:
    """Return what the forecast of a single member comes to, or raise its error."""
    (result,) = results
    if isinstance(result, DaflowError):
        raise result
    return result
