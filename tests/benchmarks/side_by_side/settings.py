"""What can be set from the command line of ``make bench``, by environment variables.

``SCALE`` multiplies the numbers a member of every case, ``ROUNDS`` replaces the number of rounds, ``BYTES``
the bytes that the cases on disk read and write each.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from side_by_side.contest import Case


def size_of(case: Case) -> Mapping[str, Any]:
    """Return the size that a case is measured at."""
    size = dict(case.full)
    if "n_state" in size:
        size["n_state"] = int(size["n_state"] * float(os.environ.get("SCALE") or 1))
    if "n_bytes" in size and os.environ.get("BYTES"):
        size["n_bytes"] = float(os.environ["BYTES"])
    return size


def rounds_of(case: Case) -> int:
    """Return how many rounds a case is measured for after its warm-up."""
    return int(os.environ.get("ROUNDS") or case.rounds)
