"""Which observations are believed, how far, and how many are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from daflow.config.section import Positive, Problem, Section, kind_of_value, refuse

Axis = Literal["x", "y", "z", "time"]
Box = Annotated[Mapping[Axis, Positive], Field(min_length=1)]


class ReconditionSettings(Section):
    """Raise small eigenvalues of the errors' covariance, so that it can be inverted (Tabeart et al., 2020).

    Estimated covariances are often nearly singular, or not positive definite at all. What is raised makes
    observations count for less in the directions that the covariance called nearly exact.
    """

    way: Literal["ridge_fraction", "ridge_shift", "minimum_fraction", "minimum_threshold"] = Field(
        description="ridge: the same is added to all eigenvalues, which raises all variances alike and "
        "weakens all correlations; minimum: only small ones are raised. _fraction: as much as brings the "
        "condition number to a fraction of what it is; it needs eigenvalues above 0. _shift, _threshold: by "
        "this much, or up to this; a matrix that is not positive definite needs one of these, and a negative "
        "eigenvalue is raised to 0 first."
    )
    number: Positive = Field(
        description="The fraction, from above 0 to 1; or the shift or threshold: in squares of the values' "
        "unit on covariance, without a unit on correlation."
    )
    on: Literal["covariance", "correlation"] = Field(
        default="covariance",
        description="correlation: with every variance brought to 1 meanwhile, so that units do not matter: "
        "for observations of several kinds.",
    )

    def _problems(self) -> Iterator[Problem]:
        if self.way.endswith("fraction") and self.number > 1:
            what = "a fraction above 1 would make the condition worse"
            yield Problem("number", what, self.number, "above 0, up to 1; or way: ridge_shift")


def nothing_to_recondition(given: Any, why: str) -> Any:
    """Return what stands under ``error`` as it is, unless it asks for what cannot be done to such errors."""
    if isinstance(given, Mapping) and given.get("recondition") is not None:
        refuse([Problem("recondition", why, "recondition", "kind: dense | block, or leave it out")])
    return given


class BackgroundCheckSettings(Section):
    """Observations that the prior ensemble cannot explain.

    The departure of an observation from the mean of the predictions, over sqrt(spread^2 + error^2), is of
    variance 1 where ensemble and errors are right. One far beyond that is wrong itself, or the ensemble is.
    Looked at in the first forecast and kept to: an iteration that dropped others each time would have no aim.
    With ``cycling`` each cycle looks at its own.
    """

    threshold: Positive = Field(
        default=3.0, description="In standard deviations of the departure; 3 to 5 are common. No unit."
    )
    action: Literal["flag", "drop", "inflate"] = Field(
        default="drop",
        description="flag: count and name it, but use it; drop: leave it out; inflate: raise its error until "
        "the departure is the threshold (Minamide and Zhang, 2017, do so at 1): it still counts a bit.",
    )


class OutlierSettings(Section):
    """Observations that depart otherwise than the others of their kind, whatever the ensemble's spread.

    Departures from the mean of the predictions, in units of the errors, are compared with their median in
    units of their median absolute deviation (Iglewicz and Hoaglin, 1993), kind by kind, in the first
    forecast; with ``cycling`` in each cycle.
    """

    threshold: Positive = Field(
        default=3.5, description="In robust standard deviations of the departures. No unit."
    )
    action: Literal["flag", "drop"] = Field(
        default="drop", description="flag: count and name it, but use it; drop: leave it out."
    )


class ThinningSettings(Section):
    """One observation of each kind from each box of a grid.

    For dense observations whose errors are less independent than R says. The others are not read at all.
    """

    box: Box = Field(
        description="The box's size along x, y, z (in the grid's unit of length) and time (in the model's); "
        "an axis without one does not count. Boxes begin at 0."
    )
    keep: Literal["most_accurate"] = Field(
        default="most_accurate", description="The smallest error_std; among equals, the first."
    )


class SuperObsSettings(Section):
    """Averages of observations: those of one kind in a box become one, weighed by 1 / error variance.

    Values, predictions and the errors' covariance go through the same averages. The store keeps the
    predictions of all observations; the update sees the averages.
    """

    box: Box = Field(
        description="The box's size along x, y, z (in the grid's unit of length) and time (in the model's); "
        "an axis without one does not count. Boxes begin at 0."
    )


class MissingShare(Section):
    """Members may miss some predictions."""

    share: float = Field(
        ge=0,
        le=1,
        description="A member that misses more than this share of the predictions is given up; observations "
        "that one of the others does not predict are left out.",
    )


MissingPredictions = Annotated[
    Annotated[Literal["invalid", "drop_observations", "drop_members"], Tag("word")]
    | Annotated[MissingShare, Tag("mapping")],
    Discriminator(kind_of_value),
]

BackgroundCheck = Annotated[
    BackgroundCheckSettings | None,
    Field(default=None, description="Departures from the ensemble that are too large; null: none is."),
]
Outliers = Annotated[
    OutlierSettings | None,
    Field(default=None, description="Departures unlike those of the same kind; null: not looked for."),
]
SuperObs = Annotated[
    SuperObsSettings | None, Field(default=None, description="Averages in boxes; null: none are taken.")
]
Recondition = Annotated[
    ReconditionSettings | None,
    Field(default=None, description="Raise small eigenvalues of the covariance; null: take it as it is."),
]


def of_missing(missing: str | MissingShare, on_failure: str) -> Iterator[Problem]:
    """Yield what is wrong with members that are to be given up while no failure is allowed."""
    gives_up = missing == "drop_members" or (isinstance(missing, MissingShare) and missing.share < 1)
    if gives_up and on_failure == "stop":
        what = "lets members go that miss predictions, while on_failure: stop lets none go"
        yield Problem("missing_predictions", what, missing, "drop_observations, or on_failure: drop")
