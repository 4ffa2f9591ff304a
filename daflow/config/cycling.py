"""Section ``cycling``: a filter, whose state goes from one window of observations to the next."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from pydantic import Field

from daflow.config.external_models import CallableSettings
from daflow.config.section import Positive, Problem, Section

ADVANCING: Final = (
    "lorenz63",
    "lorenz96",
    "lorenz96_two_scale",
    "kuramoto_sivashinsky",
    "quasigeostrophic",
)
"""The kinds of built-in models that can carry a state from one time to another."""
TIME: Final = "time"
"""What an opened state calls its time."""


class CyclingSettings(Section):
    """Forecast and analysis in turn: the variables under ``parameters`` are the state of the model."""

    start: float = Field(
        default=0.0,
        description="The time of the initial ensemble, which the priors under 'parameters' describe, in the "
        "model's unit of time. Every observation is later.",
    )
    window: Positive | None = Field(
        default=None,
        description="The length of a cycle in the model's unit of time: cycle k has the observations in "
        "(start + k window, start + (k + 1) window], each predicted at its own time, and the state at the "
        "window's end is updated with all of them. A window without observations is forecast together with "
        "the next that has some. null: each time at which anything is observed is a cycle of its own.",
    )
    lag: int = Field(
        default=0,
        ge=0,
        description="How many cycles observations reach back: the state that a cycle starts from is "
        "corrected also by the analyses of this cycle and of the next, so many in all (the ensemble "
        "Kalman smoother with a fixed lag). Smoothed states are arrays of their own, made after the last "
        "analysis; the filter goes on from those that are not. What an inflation does is no part of what "
        "smooths. Only for methods whose update is one transform of the members, without localization. 0: "
        "none.",
    )


def of_cycling(
    cycling: CyclingSettings | None, model: Section, parameters: Collection[str]
) -> Iterator[Problem]:
    """Yield what is wrong with a model that is to carry a state, or is not, or with a state's variables."""
    kind, function = getattr(model, "kind", ""), "'module:function'"
    if cycling is not None and TIME in parameters:
        what = f"the name {TIME!r} belongs to a coordinate of every state: choose another"
        yield Problem(f"parameters.{TIME}", what)
    if isinstance(model, CallableSettings):
        if cycling is None and model.function is None:
            yield Problem("model.function", "the forward model is missing", "null", function)
        if cycling is None and model.advance is not None:
            what = "is called in cycles only: add the section 'cycling'"
            yield Problem("model.advance", what, model.advance, "null")
        if cycling is not None and model.advance is None:
            what = "'cycling' needs a function that carries the state from one time to another"
            yield Problem("model.advance", what, "null", f"{function}, which returns state and predictions")
    elif cycling is not None and kind not in ADVANCING:
        allowed = f"{', '.join(ADVANCING)}; or callable with 'advance'"
        yield Problem("model.kind", "this model cannot carry a state through cycles", kind, allowed)
