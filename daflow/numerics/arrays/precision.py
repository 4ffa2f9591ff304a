"""Numbers as they are stored: float64 or float32, with nothing finite turned into an infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError


def store_into(out: NDArray[Any], values: NDArray[Any]) -> None:
    """Copy numbers to where they are kept, rounded to the type that they have there.

    Raises
    ------
    daflow.errors.DataError
        A finite number is too large for the type: it would be kept as an infinity.
    """
    try:
        with np.errstate(over="raise", under="ignore"):
            out[...] = values
    except FloatingPointError as error:
        raise DataError(
            f"a number is too large to be stored as {out.dtype}",
            got=f"{np.abs(values[np.isfinite(values)]).max():g}",
            allowed=f"up to {np.finfo(out.dtype).max:g}",
            do="choose `storage: {dtype: float64}`, or look why the number is so large",
        ) from error
