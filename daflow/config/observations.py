"""Section ``observations``: read from a file, or made by a twin experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from daflow.config.quality import (
    BackgroundCheck,
    Outliers,
    Recondition,
    SuperObs,
    ThinningSettings,
    nothing_to_recondition,
)
from daflow.config.section import InputPath, Problem, Section

Text = Annotated[str, Field(min_length=1)]
DEFAULT_KIND = "default"
"""The entry of ``error`` that speaks for every kind of observation without one of its own."""


class ColumnNames(Section):
    """What daflow's own columns are called in the file; other columns go to the model as they are."""

    value: Text = Field(default="value", description="What was observed; it must be there.")
    error_std: Text = Field(
        default="error_std", description="The standard deviation of its error, in the value's unit."
    )
    name: Text = Field(default="name", description="Who or where: a well, a station. Optional.")
    kind: Text = Field(default="kind", description="What: WOPR, temperature. Optional.")
    time: Text = Field(default="time", description="When, in the model's unit of time. Optional.")
    x: Text = Field(default="x", description="Where along x, in the grid's unit of length. Optional.")
    y: Text = Field(default="y", description="Where along y. Optional.")
    z: Text = Field(default="z", description="Where along z. Optional.")

    def _problems(self) -> Iterator[Problem]:
        taken: dict[str, str] = {}
        for key, column in self.model_dump().items():
            if column in taken:
                yield Problem(key, f"is the same column as {taken[column]!r}", column, "a column of its own")
            taken[column] = key


class DiagonalError(Section):
    """Independent errors: their standard deviations stand in the column ``error_std``."""

    kind: Literal["diagonal"] = Field(default="diagonal", description="Independent errors.")

    @model_validator(mode="before")
    @classmethod
    def _its_eigenvalues_are_its_variances(cls, given: Any) -> Any:
        return nothing_to_recondition(
            given,
            "independent errors have their variances for eigenvalues: raise error_std where it is small",
        )


class DenseError(Section):
    """Correlated errors: a covariance matrix from a file."""

    kind: Literal["dense"] = Field(default="dense", description="A covariance matrix.")
    file: InputPath = Field(description="A .npz, .npy, netCDF (.nc) or zarr (.zarr) file or folder.")
    array: Text = Field(
        default="covariance",
        description="The array (n_obs, n_obs) in the file, in squares of the values' units.",
    )
    recondition: Recondition = None


class BlockError(Section):
    """Groups of observations with correlated errors, independent of each other."""

    kind: Literal["block"] = Field(default="block", description="A covariance matrix a group.")
    file: InputPath = Field(description="A .npz, netCDF (.nc) or zarr (.zarr) file or folder.")
    arrays: tuple[Text, ...] = Field(
        min_length=1,
        description="The blocks' arrays (n, n), in the order of the observations that they cover.",
    )
    recondition: Recondition = None


class LowRankError(Section):
    """Errors with a few common causes: factor @ factor.T + diag(variances)."""

    kind: Literal["low_rank"] = Field(default="low_rank", description="A low-rank matrix plus a diagonal.")
    file: InputPath = Field(description="A .npz, netCDF (.nc) or zarr (.zarr) file or folder.")
    factor: Text = Field(default="factor", description="The array (n_obs, rank), in the values' units.")
    variances: Text = Field(default="variances", description="The array (n_obs,), in their squares.")

    @model_validator(mode="before")
    @classmethod
    def _its_variances_bound_its_eigenvalues(cls, given: Any) -> Any:
        return nothing_to_recondition(
            given, "no eigenvalue of factor @ factor.T + diag(variances) is below the variances: raise these"
        )


ErrorSettings = Annotated[DiagonalError | DenseError | BlockError | LowRankError, Field(discriminator="kind")]


class FileObservations(Section):
    """Observations from a table: a row, or an entry along ``obs``, each."""

    kind: Literal["file"] = Field(default="file", description="From a table in a file.")
    path: InputPath = Field(description="A .csv file, or a netCDF (.nc) or zarr (.zarr) with dimension obs.")
    columns: ColumnNames = Field(default=ColumnNames(), description="What the columns are called there.")
    locations: InputPath | None = Field(
        default=None,
        description="A table of wells or stations, columns name and x, y, z: where the observations of that "
        "name lie; null: as 'path' says, if it does.",
    )
    error: ErrorSettings = Field(default=DiagonalError(), description="The covariance of the errors.")
    thinning: ThinningSettings | None = Field(
        default=None, description="One observation of each box; null: all are taken."
    )
    super_obs: SuperObs = None
    background_check: BackgroundCheck = None
    outliers: Outliers = None


class ErrorSize(Section):
    """The standard deviation of an error: the larger of ``absolute`` and ``relative`` times |true value|."""

    absolute: float = Field(default=0.0, ge=0, description="In the observation's unit.")
    relative: float = Field(default=0.0, ge=0, description="A fraction of the true value: 0.05 is 5 %.")

    def _problems(self) -> Iterator[Problem]:
        if self.absolute == 0 and self.relative == 0:
            yield Problem("", "an observation without error", "absolute 0, relative 0", "one of them above 0")


class DrawnTruth(Section):
    """The truth is one more draw from the prior; of an array prior it is the row that ``truth`` names."""

    kind: Literal["drawn"] = Field(default="drawn", description="One more draw from the prior.")


class ArrayTruth(Section):
    """The truth is read from a file."""

    kind: Literal["array"] = Field(default="array", description="Read from a file.")
    file: InputPath = Field(description="A .npz, netCDF (.nc) or zarr (.zarr), one array a variable.")
    arrays: Mapping[str, Text] = Field(
        default_factory=dict, description="Variable -> its array; a variable not named: its own name."
    )


class KeepSettings(Section):
    """Which of the observations that the model can predict are made."""

    every: int = Field(
        default=1,
        ge=1,
        description="Of each name and kind, the first in time and then every so many; 1: all.",
    )
    kinds: tuple[Text, ...] | None = Field(
        default=None, min_length=1, description="The kinds that are observed; null: all."
    )


class TwinObservations(Section):
    """A twin experiment: the model runs from a known truth, and errors are added to what it predicts."""

    kind: Literal["twin"] = Field(default="twin", description="A twin experiment.")
    truth: Annotated[DrawnTruth | ArrayTruth, Field(discriminator="kind")] = Field(
        default=DrawnTruth(), description="Where the truth comes from."
    )
    error: Mapping[Text, ErrorSize] = Field(
        min_length=1,
        description="Kind of observation -> its error; 'default' speaks for the kinds not named.",
    )
    keep: KeepSettings = Field(default=KeepSettings(), description="What is observed.")
    super_obs: SuperObs = None
    background_check: BackgroundCheck = None
    outliers: Outliers = None

    def _problems(self) -> Iterator[Problem]:
        if self.keep.kinds is None or DEFAULT_KIND in self.error:
            return
        if missing := [kind for kind in self.keep.kinds if kind not in self.error]:
            yield Problem(
                "error", f"no error is given for {', '.join(missing)}", list(self.error), "every kind"
            )


ObservationSettings = Annotated[FileObservations | TwinObservations, Field(discriminator="kind")]
