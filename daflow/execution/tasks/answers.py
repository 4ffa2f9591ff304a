"""What a model answered, looked at before it counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DaflowError, ModelFailed, OutputInvalid, PredictionsMissing
from daflow.inputs.observations import describe
from daflow.ports import Advanced, FloatArray, ObservationTable
from daflow.records import Layout

MAX_NAMED: Final = 5
"""How many bad observations an error names."""
LET_BE: Final = (
    "where a model cannot predict some observations, say in policy.missing_predictions what follows"
)

Answer = FloatArray | Advanced
"""What a model says of a member: predictions, with a state where there are cycles."""


def predicted_of(answer: Answer | DaflowError) -> FloatArray | DaflowError:
    """Return the predictions of an answer, an error as it is."""
    return answer.predicted if isinstance(answer, Advanced) else answer


def advanced(
    before: Mapping[str, FloatArray],
    state: Mapping[str, FloatArray],
    layout: Layout,
    views: Collection[str] = (),
) -> dict[str, FloatArray]:
    """Return all variables of a state that a model has carried on, in their order.

    Parameters
    ----------
    before
        The variables as they were; one that the model does not return stays so.
    state
        What the model returned.
    layout
        Which variables there are.
    views
        Those that the model sees otherwise than they are kept: it cannot carry them.

    Raises
    ------
    daflow.errors.OutputInvalid
        The model returned a variable that it cannot carry, one of another shape, or numbers that are not
        finite.
    """
    known = {variable.name: variable for variable in layout.variables}
    for name, values in state.items():
        if name not in known or name in views:
            raise OutputInvalid(
                "the model's state has a variable that it cannot carry",
                got=name,
                allowed=", ".join(each for each in known if each not in views),
                do="return variables of 'parameters' only, but no facies",
            )
        variable = known[name]
        if values.shape != variable.shape and not values.size == variable.size == 1:
            what = f"the model's state has {name!r} in the wrong shape"
            raise OutputInvalid(what, got=values.shape, allowed=variable.shape)
        bad = ~np.isfinite(values)
        if bad.any():
            raise OutputInvalid(
                f"the model's state is not finite in {name!r}",
                got=f"{bad.sum()} of {values.size}, the first one {values[bad][0]}",
                allowed="finite numbers",
            )
    return {name: state[name] if name in state else before[name] for name in known}


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
