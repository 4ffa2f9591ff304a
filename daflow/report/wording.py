"""Numbers and durations as a reader wants them."""

from __future__ import annotations

import math


def number(value: float, digits: int = 3) -> str:
    """Return a number with so many digits that mean something.

    Laws: reading it back gives the value to these digits; no exponent between 0.001 and a million.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    value = float(f"{value:.{digits - 1}e}")
    size = math.floor(math.log10(abs(value)))
    if -3 <= size < 6:
        return f"{value:,.{max(digits - 1 - size, 0)}f}"
    return f"{value:.{digits - 1}e}"


def duration(seconds: float) -> str:
    """Return a duration in at most two units: ``0.42 s``, ``4 min 12 s``, ``2 h 05 min``, ``3 d 04 h``."""
    if seconds < 59.95:
        return f"{number(seconds, 2 if seconds < 10 else 3)} s"
    whole = round(seconds)
    for unit, size, part, part_size in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part_size:02d} {part}"
    return f"{whole // 60} min {whole % 60:02d} s"


def count(amount: int, one: str, many: str = "") -> str:
    """Return an amount with its noun: ``1 member``, ``1,200 members``."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def decimal(value: float, _position: float = 0) -> str:
    """Return a tick of a logarithmic axis: ``0.5``, ``20``, ``3e+06``."""
    return f"{value:g}"
