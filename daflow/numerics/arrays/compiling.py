"""Functions compiled by numba: imported where it is installed, and only when needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep what comes out for other processes.

    It is kept beside the function's file or, where that cannot be written, in the user's cache. Files are
    replaced whole, so any number of processes may do so at once.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # there is no place to keep anything
        return numba.njit(**options)(function)
