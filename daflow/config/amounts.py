"""Amounts of memory and time as a workflow file says them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from daflow.config.section import Problem, refuse

UNITS: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", start=1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
"""Units of memory, in bytes."""
LEAST_MEMORY: Final = 100 * 1000**2
"""Below this a worker cannot even start, bytes."""
WALLTIME: Final = re.compile(r"(?:(\d+)-)?(\d{1,4}):([0-5]\d):([0-5]\d)")
"""Days, hours, minutes and seconds."""


def bytes_of(memory: str) -> int | None:
    """Return how many bytes a text such as ``2GB`` says; None: it says none."""
    number = memory.rstrip("BikKMGT")
    try:
        return int(float(number) * UNITS[memory[len(number) :].strip()])
    except (ValueError, KeyError, OverflowError):
        return None


def seconds_of(walltime: str) -> int | None:
    """Return how many seconds a text such as ``12:00:00`` or ``2-12:00:00`` says; None: it says none."""
    found = WALLTIME.fullmatch(walltime)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _an_amount_of_memory(memory: str) -> str:
    amount = bytes_of(memory)
    if amount is None:
        refuse(
            [Problem("", "not an amount of memory", repr(memory), f"a number and {', '.join(UNITS)}: 2GB")]
        )
    elif amount < LEAST_MEMORY:
        refuse([Problem("", "too little for a worker to start", repr(memory), "at least 100MB")])
    return memory


def _a_walltime(walltime: str) -> str:
    if not seconds_of(walltime):
        refuse([Problem("", "not a walltime", repr(walltime), "HH:MM:SS or D-HH:MM:SS, such as 12:00:00")])
    return walltime


Memory = Annotated[str, AfterValidator(_an_amount_of_memory)]
"""An amount of memory: a number and a unit."""
Walltime = Annotated[str, AfterValidator(_a_walltime)]
"""How long a batch job may take, HH:MM:SS or D-HH:MM:SS."""
