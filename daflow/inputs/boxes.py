"""Observations in boxes of a grid: one taken of each, or their average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.observations import FileObservations
from daflow.config.quality import Axis, SuperObsSettings
from daflow.errors import CombinationError, DataError
from daflow.inputs.obs_error import covariance_of
from daflow.inputs.subsets import kept_of
from daflow.numerics.observations.thinning import (
    SuperObservations,
    boxes_of,
    super_observations,
    thinned,
)
from daflow.ports import FloatArray, Observations, ObservationTable

LARGEST_MATRIX: Final = 20_000
"""Observations up to which averages of errors that depend on each other are made: a matrix of 3.2 GB."""

Averaged = tuple[Observations, SuperObservations]


def thin(settings: FileObservations, observations: Observations) -> Observations:
    """Return the most accurate observation of each kind in each box, if the settings ask for that.

    Laws: boxes that hold one observation each change nothing; thinning again changes nothing.

    Raises
    ------
    daflow.errors.DataError
        An observation has no place along an axis of the boxes.
    """
    asked = settings.thinning
    if asked is None:
        return observations
    numbers = numbered(observations.table, asked.box, "observations.thinning.box")
    rows = thinned(numbers, _variances(observations))
    note = f"of {numbers.size:,} observations {rows.size:,} were kept, the most accurate one of each box"
    return replace(kept_of(observations, rows), notes=(*observations.notes, note))


def super_obs_of(settings: SuperObsSettings | None, observations: Observations) -> Averaged | None:
    """Return averages of observations of one kind in a box, and how they are made; None: there are none.

    Their names and the columns of the model's own are those of the first in the box; their times and places
    are averages too.

    Laws: boxes that hold one observation each change nothing; n observations of one variance that say the
    same are one of an n-th of it.

    Raises
    ------
    daflow.errors.DataError
        An observation has no place along an axis of the boxes.
    daflow.errors.CombinationError
        There are too many observations whose errors depend on each other.
    """
    if settings is None:
        return None
    table = observations.table
    numbers = numbered(table, settings.box, "observations.super_obs.box")
    n_boxes = int(numbers.max()) + 1
    if n_boxes == numbers.size:
        return None
    if observations.error and numbers.size > LARGEST_MATRIX:
        raise CombinationError(
            "observations.super_obs: errors that depend on each other are averaged as one matrix",
            got=f"{numbers.size:,} observations",
            allowed=f"at most {LARGEST_MATRIX:,}, or observations.error.kind: diagonal",
            do="use observations.thinning in its place, or independent errors",
        )
    averages = super_observations(numbers, _variances(observations))
    first = np.unique(numbers, return_index=True)[1]
    made = {name: np.asarray(column)[first] for name, column in table.items()}
    for name in ("value", "time", "x", "y", "z"):
        made[name] = averages.average(table[name])
    error = averages.error(covariance_of(observations))
    made["error_std"] = np.sqrt(error.diagonal())
    own = first if observations.numbers is None else observations.numbers[first]
    arrays: Mapping[str, NDArray[Any]] = {"matrix": error.dense()} if observations.error else {}
    return Observations(made, arrays, own.astype(np.int64), observations.notes), averages


def numbered(table: ObservationTable, box: Mapping[Axis, float], key: str) -> NDArray[np.int64]:
    """Return the number of each observation's box (n_obs,); none holds observations of two kinds.

    Parameters
    ----------
    table
        Of the observations.
    box
        Its size along each axis.
    key
        Under which the workflow file has it.

    Raises
    ------
    daflow.errors.DataError
        An observation has no place along one of the axes.
    """
    columns: list[FloatArray] = []
    for axis in box:
        column = np.asarray(table[axis], dtype=np.float64)
        lost = np.flatnonzero(~np.isfinite(column))
        if lost.size:
            raise DataError(
                f"{key}.{axis}: observations have no {axis}",
                got=f"{lost.size} of {column.size}, the first is {table['name'][lost[0]]}",
                allowed=f"a number in the column {axis!r} of every observation",
                do=f"give them one (observations.locations: those of wells), or leave {axis} out of the box",
            )
        columns.append(column)
    kinds = np.unique(np.asarray(table["kind"], dtype=str), return_inverse=True)[1]
    places = np.stack([*columns, kinds.astype(np.float64)], axis=1)
    return boxes_of(places, [*box.values(), 1.0])


def _variances(observations: Observations) -> FloatArray:
    return np.asarray(observations.table["error_std"], dtype=np.float64) ** 2
