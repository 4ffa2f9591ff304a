"""Observations that belong together, and how far the ensemble is from each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.diagnostics.misfit import normalized_misfit
from daflow.ports import FloatArray, ObservationTable
from daflow.report.contents import ReportContents, StepPredictions

EVERYTHING: Final = "all observations"
SEVERAL: Final = 4
"""Observations a name has on average where it names a place and not a single observation."""
LARGEST: Final = 1e200
"""A misfit that overflows is told as this: a prediction may be finite and its square not."""


@dataclass(frozen=True, slots=True)
class Group:
    """Observations of one kind, at one well where wells are told apart."""

    label: str
    rows: NDArray[np.int64]
    """Their rows in the observation table, rising."""


@dataclass(frozen=True, slots=True)
class GroupMisfit:
    """A group and the ensemble's mean misfit per observation, first and latest (``None``: no update yet)."""

    group: Group
    prior: float
    posterior: float | None

    @property
    def latest(self) -> float:
        """The misfit that counts now."""
        return self.prior if self.posterior is None else self.posterior


def observation_groups(table: ObservationTable) -> list[Group]:
    """Return the groups of a table, by where and what was observed, in order of label.

    Where is the column ``well``, or else ``name`` if names stand for places with several observations each;
    what is ``kind``.

    Laws: every row is in exactly one group.
    """
    columns = [table[name].astype(str) for name in (_place(table), "kind") if name in table]
    if not columns:
        return [Group(EVERYTHING, np.arange(len(table["value"])))]
    parts = [np.unique(column, return_inverse=True) for column in columns]
    code = parts[0][1].astype(np.int64)
    for names, inverse in parts[1:]:
        code = code * len(names) + inverse
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    return [Group(_label(columns, rows[0]), rows) for rows in np.split(order, starts[1:])]


def _place(table: ObservationTable) -> str:
    if "well" in table or "name" not in table:
        return "well"
    n_names = len(np.unique(table["name"].astype(str)))
    return "name" if n_names * SEVERAL <= len(table["name"]) else "well"


def group_misfits(contents: ReportContents) -> list[GroupMisfit]:
    """Return every group with its misfit, the worst first; empty before the first forecast is there."""
    if not contents.predictions:
        return []
    first, last = contents.predictions[0], contents.predictions[-1]
    found = [
        GroupMisfit(
            group,
            _mean_misfit(contents.observations, first, group.rows),
            None if last is first else _mean_misfit(contents.observations, last, group.rows),
        )
        for group in observation_groups(contents.observations)
    ]
    return sorted(found, key=lambda each: -each.latest)


def member_misfits(contents: ReportContents) -> list[FloatArray]:
    """Return a step's misfit per observation of each member (n_members,), step by step."""
    everything = np.arange(contents.n_obs)
    return [_misfits(contents.observations, each, everything) for each in contents.predictions]


def _mean_misfit(table: ObservationTable, forecast: StepPredictions, rows: NDArray[np.int64]) -> float:
    return float(_misfits(table, forecast, rows).mean())


def _misfits(table: ObservationTable, forecast: StepPredictions, rows: NDArray[np.int64]) -> FloatArray:
    with np.errstate(over="ignore"):
        found = normalized_misfit(forecast.predicted[:, rows], table["value"][rows], table["error_std"][rows])
    return np.minimum(found, LARGEST)


def _label(columns: Sequence[NDArray[np.str_]], row: int) -> str:
    return " · ".join(str(column[row]) for column in columns if column[row]) or EVERYTHING
