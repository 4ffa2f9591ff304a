"""What every model's predictions must be before they count."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import OutputInvalid, PredictionsMissing
from daflow.ports import FloatArray, ObservationTable

_NAMED_ROWS: Final = 5


def count_observations(observations: ObservationTable) -> int:
    """Return the number of rows of an observation table."""
    return next((len(column) for column in observations.values()), 0)


def describe_row(observations: ObservationTable, row: int) -> str:
    """Return a row's number and what the table calls it: ``row 3 (PROD1 WOPR at 240)``."""
    words = [str(observations[column][row]) for column in ("name", "kind") if column in observations]
    if "time" in observations:
        words.append(f"at {observations['time'][row]}")
    return f"row {row}" + (f" ({' '.join(words)})" if words else "")


def checked_predictions(values: object, observations: ObservationTable, source: str) -> FloatArray:
    """Return predictions as float64 (n_obs,) if they can be used; ``source`` says where they came from.

    Raises
    ------
    daflow.errors.OutputInvalid
        They are not real numbers, not one for each observation, or not finite.
    daflow.errors.PredictionsMissing
        Some are NaN, and the others finite: the run's policy may allow it.
    """
    n_obs = count_observations(observations)
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError as problem:
        raise OutputInvalid(f"{source}: rows of different lengths", allowed=f"shape ({n_obs},)") from problem
    if array.dtype.kind not in "fiu":
        raise OutputInvalid(
            f"{source}: predictions are not real numbers",
            got=f"dtype {array.dtype}",
            allowed="float or integer",
        )
    if array.shape != (n_obs,):
        raise OutputInvalid(
            f"{source}: not one prediction for each observation",
            got=f"shape {array.shape}",
            allowed=f"shape ({n_obs},)",
            do="was the output cut short? return a value for each row of the observation table, in its order",
        )
    predicted = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(predicted))
    if bad.size:
        shown = ", ".join(f"{describe_row(observations, int(i))}: {predicted[i]}" for i in bad[:_NAMED_ROWS])
        notes = {"got": shown + (", ..." if bad.size > _NAMED_ROWS else ""), "allowed": "finite numbers"}
        what = f"{source}: {bad.size} of {n_obs} predictions are not finite"
        if np.isinf(predicted).any():
            raise OutputInvalid(what, **notes)
        cure = "mend the output; or say in policy.missing_predictions what follows where some are missing"
        raise PredictionsMissing(predicted, what, **notes, do=cure)
    return predicted
