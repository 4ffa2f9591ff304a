"""What a report tells, as plain data that the caller gathers from the run and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from daflow.errors import DataError
from daflow.names import Phase, Status
from daflow.ports import FloatArray, ObservationTable
from daflow.report.analyses import AnalysisFigures
from daflow.report.cycles import CycleScores
from daflow.report.steps import Diagnostics

MOTIVE = "this is the run's own data: check the store with `daflow status`, then write the report again"


@dataclass(frozen=True, slots=True)
class StepPredictions:
    """The forecast of a step, by the members that survived it.

    Parameters
    ----------
    step
        0 is the prior's forecast; each update adds one.
    members
        (n_members,) their numbers.
    predicted
        (n_members, n_obs), finite, in the units of the observations.
    """

    step: int
    members: Sequence[int]
    predicted: FloatArray

    def __post_init__(self) -> None:
        where = f"the predicted observations of step {self.step}"
        if self.predicted.ndim != 2 or len(self.predicted) != len(self.members) or not len(self.members):
            wanted = f"({max(len(self.members), 1)}, n_obs)"
            raise DataError(
                f"{where} have the wrong shape", got=self.predicted.shape, allowed=wanted, do=MOTIVE
            )
        if not np.isfinite(self.predicted).all():
            number = int(np.flatnonzero(~np.isfinite(self.predicted).all(axis=1))[0])
            raise DataError(
                f"{where} are not finite",
                got=f"NaN or infinity in member {self.members[number]}",
                allowed="finite numbers",
                do="give the survivors only; members that failed belong into `failures`",
            )


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and standard deviation of an ensemble of fields: two arrays of one shape (n_y, n_x)."""

    mean: FloatArray
    std: FloatArray


@dataclass(frozen=True, slots=True)
class FieldMaps:
    """A field seen from above (or a section through it) before and after; NaN where there is none.

    Parameters
    ----------
    variable, label
        The variable's name, and what the reader is told it is ("log-permeability, layer 3").
    extent
        x of the first and last column's outer edge, y of the first and last row's outer edge.
    prior, posterior
        (n_y, n_x) mean and spread; the posterior is ``None`` until there is an update.
    truth
        (n_y, n_x) where it is known.
    points
        Wells or observations: name -> (x, y).
    """

    variable: str
    label: str
    extent: tuple[float, float, float, float]
    prior: Moments
    posterior: Moments | None = None
    truth: FloatArray | None = None
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.prior.mean.shape
        fields = [self.prior.mean, self.prior.std]
        if self.posterior is not None:
            fields += [self.posterior.mean, self.posterior.std]
        if self.truth is not None:
            fields.append(self.truth)
        if len(shape) != 2 or 0 in shape or any(each.shape != shape for each in fields):
            raise DataError(
                f"the maps of {self.variable!r} have the wrong shape",
                got=", ".join(str(each.shape) for each in fields),
                allowed="one shape (n_y, n_x) for all of them",
                do="give one layer of the field at a time",
            )
        if self.extent[0] == self.extent[1] or self.extent[2] == self.extent[3]:
            raise DataError(
                f"the maps of {self.variable!r} have no extent",
                got=self.extent,
                allowed="(x_first, x_last, y_first, y_last) with different first and last",
                do="give the outer edges of the outermost cells",
            )


@dataclass(frozen=True, slots=True)
class MemberFailure:
    """An attempt at a member's forecast that did not end well."""

    member: int
    step: int
    attempt: int
    status: Status
    reason: str
    log: str = ""
    """Where to read on, relative to the run's folder."""


@dataclass(frozen=True, slots=True)
class EndSummary:
    """All attempts that ended alike, in words."""

    status: Status
    attempts: int
    members: int
    done_since: int
    """How many of these members a later attempt brought through."""
    hosts: str
    messages: str


@dataclass(frozen=True, slots=True)
class PhaseTiming:
    """What a phase of a step took.

    ``wall_seconds`` from its first task's start to its last one's end; ``busy_seconds`` summed over its
    tasks; ``figures`` summed over its tasks too, of which the report draws ``read_seconds``,
    ``model_seconds``, ``compute_seconds`` and ``write_seconds``.
    """

    phase: Phase
    step: int
    tasks: int
    wall_seconds: float
    busy_seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepSpread:
    """The spread of the ensemble that a step's forecast starts from."""

    step: int
    mean_std: Mapping[str, float]
    """Variable -> standard deviation over the members, mean over the variable's numbers, in its unit."""


@dataclass(frozen=True, slots=True)
class ReportContents:
    """All that a report tells. Nothing here need be complete: a run that is under way has a report too.

    Parameters
    ----------
    name, status, when
        The run's name, how it stands ("finished", "running", ...), and the date that the header shows.
    n_members, n_state, n_steps
        Members asked for, numbers a member has, and updates that the method makes.
    observations
        Columns (n_obs,): ``value`` and ``error_std`` (positive) must be there; ``kind``, ``well`` and
        ``time`` (numbers or dates) are used where they are.
    predictions
        One a finished forecast, in the order of steps.
    truth
        (n_obs,) what the truth of a twin experiment predicts.
    ends
        The failures, one a way to end.
    spread
        One a step, in the order of steps.
    summary
        Key settings: name -> what is set.
    notes
        What else the reader should know.
    diagnostics
        What tells whether the answer is any good.
    cycles
        One an update of a filter, in order; ``predictions`` are then one: what the forecast of each cycle
        predicts of its own observations.
    analyses
        What the run and its branches made of the same forecasts.

    Raises
    ------
    daflow.errors.DataError
        A column or an array is missing, of the wrong length, or not finite.
    """

    name: str
    status: str
    observations: ObservationTable
    n_members: int
    n_state: int
    n_steps: int
    when: str = ""
    predictions: Sequence[StepPredictions] = ()
    truth: FloatArray | None = None
    maps: Sequence[FieldMaps] = ()
    failures: Sequence[MemberFailure] = ()
    ends: Sequence[EndSummary] = ()
    timings: Sequence[PhaseTiming] = ()
    spread: Sequence[StepSpread] = ()
    summary: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    cycles: Sequence[CycleScores] = ()
    analyses: Sequence[AnalysisFigures] = ()

    def __post_init__(self) -> None:
        _check_observations(self.observations)
        lengths = {
            f"the predicted observations of step {p.step}": p.predicted.shape[1] for p in self.predictions
        }
        if self.truth is not None:
            lengths["the truth's predicted observations"] = len(self.truth)
        for what, length in lengths.items():
            if length != self.n_obs:
                raise DataError(f"{what} do not fit the table", got=length, allowed=self.n_obs, do=MOTIVE)

    @property
    def n_obs(self) -> int:
        """How many observations there are."""
        return len(self.observations["value"])


def _check_observations(table: ObservationTable) -> None:
    for column in ("value", "error_std"):
        if column not in table:
            raise DataError(
                f"the observation table has no column {column!r}",
                got=", ".join(table) or "no columns",
                allowed="value, error_std; and kind, well, time where known",
                do=MOTIVE,
            )
    n_obs = len(table["value"])
    wrong = {name: len(column) for name, column in table.items() if len(column) != n_obs}
    if wrong or not n_obs:
        raise DataError(
            "the columns of the observation table disagree" if wrong else "the observation table is empty",
            got=wrong or 0,
            allowed=f"{n_obs or 'one or more'} rows in each",
            do=MOTIVE,
        )
    if (
        not np.isfinite(table["value"]).all()
        or not (np.isfinite(table["error_std"]) & (table["error_std"] > 0)).all()
    ):
        raise DataError(
            "the observation table has values or errors that cannot be used",
            allowed="finite values, and finite standard deviations above 0",
            do="correct these rows in the observations of the workflow",
        )
