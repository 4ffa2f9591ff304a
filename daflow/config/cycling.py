"""Section ``cycling``: a filter, whose state goes from one window of observations to the next."""

from __future__ import annotations

from collections.abc import Iterator
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


def of_cycling(cycling: CyclingSettings | None, model: Section) -> Iterator[Problem]:
    """Yield what is wrong with a model that is to carry a state through the cycles."""
    kind = getattr(model, "kind", "")
    if cycling is None:
        if isinstance(model, CallableSettings) and model.advance is not None:
            yield Problem(
                "model.advance", "is called in cycles only: add the section 'cycling'", model.advance, "null"
            )
        return
    if isinstance(model, CallableSettings):
        if model.advance is None:
            what = "'cycling' needs a function that carries the state from one time to another"
            yield Problem(
                "model.advance", what, "null", "'module:function', which returns state, predictions"
            )
    elif kind not in ADVANCING:
        allowed = f"{', '.join(ADVANCING)}; or callable with 'advance'"
        yield Problem("model.kind", "this model cannot carry a state through cycles", kind, allowed)
