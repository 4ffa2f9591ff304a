"""Weights of indices and of correlations: what the section ``localization`` says of them, fitted to a run."""

from __future__ import annotations

from typing import Final

import numpy as np

from daflow.config.localization_weights import CorrelationWeights, IndexWeights, SamplingErrorWeights
from daflow.config.schema import Workflow
from daflow.config.section import nearest
from daflow.errors import CombinationError, DataError
from daflow.numerics.localization import weighing
from daflow.numerics.localization.correlation_tapers import theoretical_noise
from daflow.numerics.localization.distance import IntArray
from daflow.numerics.localization.sampling_error import fisher_deviation
from daflow.numerics.localization.weighing import Weighing
from daflow.ports import ObservationTable

CHOOSING: Final = ("thinning", "super_obs", "background_check", "outliers")
"""Settings of observations by which rows of the table are left out, or made anew."""


def weighing_of(workflow: Workflow, table: ObservationTable, part: object) -> Weighing | None:
    """Return what weighs pairs by a part of a localization; None: it is known by where points lie.

    Raises
    ------
    daflow.errors.CombinationError
        There are too few members; rows of the table are left out that weights by row need.
    daflow.errors.DataError
        The table has no such column, or what it has is no place along the state.
    """
    n_members = len(workflow.ensemble.members)
    if isinstance(part, IndexWeights):
        return _by_index(workflow, table, part)
    if isinstance(part, SamplingErrorWeights):
        return _by_sampling_error(part, n_members)
    if isinstance(part, CorrelationWeights):
        return _by_correlation(part, n_members, workflow.seed)
    return None


def _by_index(workflow: Workflow, table: ObservationTable, part: IndexWeights) -> Weighing:
    n_state, n_obs = workflow.layout_variables()[-1].stop, len(table["name"])
    if part.belongs_to == "row":
        _refuse_without_rows(workflow)
    if part.family == "dropout":
        return weighing.by_dropout((n_state, n_obs), _given(part.keep, 1.0), workflow.seed)
    belongs = np.arange(n_obs) if part.belongs_to == "row" else _column(table, part.belongs_to, n_state)
    if part.family == "delta":
        return weighing.by_delta(belongs)
    return weighing.by_radius(belongs, _given(part.length, 1.0))


def _refuse_without_rows(workflow: Workflow) -> None:
    chosen = [f"observations.{key}" for key in CHOOSING if getattr(workflow.observations, key, None)]
    chosen += ["policy.missing_predictions"] * (workflow.policy.missing_predictions != "invalid")
    if chosen:
        raise CombinationError(
            "localization.kind index goes by the rows of the observations, and rows may be left out",
            got=" and ".join(chosen),
            allowed="localization.belongs_to: a column of the table, with family delta | radial",
            do="add a column that says which number of the state each observation belongs to; name it there",
        )


def _column(table: ObservationTable, name: str, n_state: int) -> IntArray:
    key = "localization.belongs_to"
    if name not in table:
        near = nearest(name, table)
        raise DataError(
            f"{key}: the table of observations has no such column",
            got=name,
            allowed=f"row, {', '.join(table)}",
            do=f"did you mean {near!r}?" if near else "add the column, or name one that is there",
        )
    try:
        column = np.asarray(table[name], dtype=np.float64)
    except ValueError:
        column = np.full(1, np.nan)
    good = (column >= 0) & (column < n_state) & (column == np.round(column))
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{key}: column {name!r} is not of places along the state (row {row})",
            got=table[name][row],
            allowed=f"whole numbers from 0 to {n_state - 1}",
            do="count numbers of the state from 0, in the order of 'parameters' and of their arrays",
        )
    return column.astype(np.int64)


def _by_sampling_error(part: SamplingErrorWeights, n_members: int) -> Weighing:
    if part.family == "power":
        return weighing.by_power(_given(part.power, 1.0), _given(part.cutoff, 0.0))
    if part.family == "fisher" or part.std == "fisher":
        fisher_deviation(n_members)
    if part.family == "fisher":
        return weighing.by_fisher()
    return weighing.by_nice(_given(part.tolerance, 1.0), part.std or "asymptotic", part.obs_tolerance)


def _by_correlation(part: CorrelationWeights, n_members: int, seed: int) -> Weighing:
    if part.family == "exponential":
        return weighing.by_exponential(
            _given(part.onset, 0.35), _given(part.end, 0.7), _given(part.factor, 8.0)
        )
    noise = "theory" if part.noise is None else part.noise
    if noise == "theory":
        theoretical_noise(n_members)
    return (weighing.by_threshold if part.family == "threshold" else weighing.by_tempering)(noise, seed)


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
