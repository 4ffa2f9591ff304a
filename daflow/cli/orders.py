"""The options of ``daflow resume`` that say which members get new attempts or are given up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated, Final

import typer

from daflow.errors import DataError
from daflow.names import Status
from daflow.runs.orders import ALL_FAILURES, Orders

ENDS: Final = {
    str(status).replace(" ", "-"): status
    for status in (Status.FAILED, Status.INVALID, Status.TIMED_OUT, Status.CANCELLED, Status.LOST)
}
"""What ends are called on the command line."""

Retry = Annotated[
    list[str] | None,
    typer.Option(
        "--retry",
        metavar="ENDS|NUMBERS",
        help="Give new attempts to members of the stage at hand that ended so (failed, invalid, timed-out, "
        "cancelled, lost) or that have these numbers: --retry failed,17,23 (repeatable). Lost ones always "
        "get some.",
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="NUMBERS",
        help="Give these members up now, even if they have not run: --drop 17,23 (repeatable).",
    ),
]
MinMembers = Annotated[
    int | None, typer.Option("--min-members", help="Go on with as few members as this, from now on.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="The same as --retry failed,invalid,timed-out,lost.")
]


def orders_of(
    retry: Sequence[str] | None, drop: Sequence[str] | None, min_members: int | None, *, retry_failed: bool
) -> Orders:
    """Return what these options ask for.

    Raises
    ------
    daflow.errors.DataError
        A word is neither an end nor a number.
    """
    words = list(_words(retry))
    numbers = [word for word in words if _is_number(word)]
    ends = frozenset(_end(word) for word in words if not _is_number(word))
    return Orders(
        ends | ALL_FAILURES if retry_failed else ends,
        frozenset(map(int, numbers)),
        frozenset(map(_member, _words(drop))),
        min_members,
    )


def _words(given: Sequence[str] | None) -> Iterator[str]:
    return (word.strip() for each in given or () for word in each.split(",") if word.strip())


def _is_number(word: str) -> bool:
    return word.isdecimal() and word.isascii()


def _end(word: str) -> Status:
    name = word.lower().replace("_", "-").replace(" ", "-")
    if name not in ENDS:
        near = get_close_matches(name, ENDS, n=1)
        raise DataError(
            "--retry: there is no such end" + (f"; did you mean {near[0]}?" if near else ""),
            got=word,
            allowed=f"{', '.join(ENDS)}, or members' numbers",
        )
    return ENDS[name]


def _member(word: str) -> int:
    if not _is_number(word):
        raise DataError("--drop takes members' numbers", got=word, allowed="for example --drop 17,23")
    return int(word)
