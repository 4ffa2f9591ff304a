"""What a model answered, looked at before it counts."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DaflowError, ModelFailed, OutputInvalid, PredictionsMissing
from daflow.inputs.observations import describe
from daflow.ports import FloatArray, ObservationTable

MAX_NAMED: Final = 5
"""How many bad observations an error names."""
LET_BE: Final = (
    "where a model cannot predict some observations, say in policy.missing_predictions what follows"
)


def usable(answer: FloatArray | DaflowError, table: ObservationTable, missing: float | None) -> FloatArray:
    """Return a member's predictions (n_obs,), if they can be used.

    Parameters
    ----------
    answer
        What the model returned, NaN where it predicts nothing; or what it raised, which is raised again but
        for an error that says no more than that predictions are missing where they may be.
    table
        What it was asked for.
    missing
        The share of the predictions that may be missing; ``None``: none may, by an oversight of the model.

    Raises
    ------
    daflow.errors.OutputInvalid
        Not one number an observation, an infinite one, or a missing one where that is an oversight.
    daflow.errors.ModelFailed
        More are missing than may be: the member is given up at once, for it would end the same way.
    """
    if isinstance(answer, PredictionsMissing) and missing is not None:
        answer = answer.predicted
    if isinstance(answer, DaflowError):
        raise answer
    predicted, n_obs = np.asarray(answer, dtype=np.float64), len(table["name"])
    if predicted.shape != (n_obs,):
        raise OutputInvalid(
            "the model's predictions have the wrong shape",
            got=predicted.shape,
            allowed=f"({n_obs},): one number an observation",
        )
    absent = np.isnan(predicted)
    bad = ~np.isfinite(predicted) if missing is None else np.isinf(predicted)
    if bad.any():
        raise OutputInvalid(
            "the model's predictions are not finite",
            got=_named(predicted, table, bad),
            allowed="finite numbers" if missing is None else "finite numbers, or NaN where one is missing",
            do=LET_BE if (absent & bad).any() else None,
        )
    if missing is not None and absent.sum() > missing * n_obs:
        raise ModelFailed(
            "the model left out more predictions than policy.missing_predictions lets a member miss",
            got=_named(predicted, table, absent),
            allowed=f"{int(missing * n_obs)} missing at most",
        )
    return predicted


def _named(predicted: FloatArray, table: ObservationTable, bad: NDArray[np.bool_]) -> str:
    rows = np.flatnonzero(bad)
    named = ", ".join(f"{describe(table, row)}: {predicted[row]}" for row in rows[:MAX_NAMED].tolist())
    return f"{rows.size} of {predicted.size}, the first ones {named}"
