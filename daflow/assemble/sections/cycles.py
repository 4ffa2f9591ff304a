"""The section ``cycling``, fitted to what was observed: which observations a cycle has, and their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.cycling import CyclingSettings
from daflow.config.filters import IenksSettings
from daflow.config.schema import Workflow
from daflow.errors import CombinationError, DataError
from daflow.inputs.observations import covariance_of
from daflow.methods.observed import Observed
from daflow.ports import Arrays, FloatArray, Observations, ObservationTable
from daflow.records import Cycle

SAME: Final = 1e-9
"""Times that differ by less than this fraction are one: nine digits, as models match them."""


def cycles_of(workflow: Workflow, table: ObservationTable) -> tuple[Cycle, ...]:
    """Return the cycles of a run, in order; none where there is no section ``cycling``.

    Laws: each observation is in one cycle; a cycle starts where the one before stops; the number of a cycle
    depends only on the times of the observations. A method that iterates repeats each cycle in its place.

    Parameters
    ----------
    table
        The observations, those of a cycle next to each other; see `table_in_cycles`.

    Raises
    ------
    daflow.errors.DataError
        An observation has no time, or none after the start; or the table is not in the order of the cycles.
    """
    if workflow.cycling is None:
        return ()
    stops = _stops(workflow.cycling, _times(workflow.cycling, table))
    if (np.diff(stops) < 0).any():
        row = int(np.argmax(np.diff(stops) < 0)) + 1
        raise DataError(
            "the observations are not in the order of the cycles",
            got=f"observation {row} belongs to an earlier cycle than the one before it",
            allowed="all observations of a cycle together, cycle after cycle",
            do="sort the observations, and the blocks of their errors, by time",
        )
    ends = np.append(np.flatnonzero(np.diff(stops) > 0) + 1, len(stops))
    firsts = [0, *ends[:-1].tolist()]
    starts = [workflow.cycling.start, *(float(stops[end - 1]) for end in ends[:-1])]
    again = n_repeats(workflow)
    return tuple(
        Cycle(start, float(stops[last - 1]), first, last, goes_on=turn == again)
        for start, first, last in zip(starts, firsts, ends.tolist(), strict=True)
        for turn in range(again + 1)
    )


def n_repeats(workflow: Workflow) -> int:
    """Return how many times a cycle is forecast once more, from a state that was corrected."""
    return workflow.method.iterations if isinstance(workflow.method, IenksSettings) else 0


def table_in_cycles(workflow: Workflow, table: ObservationTable) -> ObservationTable:
    """Return a table with the rows of each cycle together, otherwise in the order in which they came.

    Raises
    ------
    daflow.errors.DataError
        An observation has no time, or none after the start.
    """
    order = _by_cycle(workflow, table)
    return table if order is None else {name: column[order] for name, column in table.items()}


def in_cycles(workflow: Workflow, observations: Observations) -> Observations:
    """Return observations with those of each cycle together, otherwise in the order in which they came.

    Random numbers are then addressed by where an observation stands in its cycle.

    Raises
    ------
    daflow.errors.DataError
        An observation has no time, or none after the start; or errors are given as matrices, which would
        have to be sorted as well.
    """
    if workflow.cycling is None:
        return observations
    if observations.error:
        # Matrices stay as they are: what is not in order is refused.
        cycles_of(workflow, observations.table)
    return replace(observations, table=table_in_cycles(workflow, observations.table), numbers=None)


def _by_cycle(workflow: Workflow, table: ObservationTable) -> NDArray[np.int64] | None:
    """Return the order (n_obs,) that puts the observations of each cycle together; None: they are."""
    if workflow.cycling is None:
        return None
    stops = _stops(workflow.cycling, _times(workflow.cycling, table))
    if (np.diff(stops) >= 0).all():
        return None
    return np.argsort(stops, kind="stable")


def observed_at(workflow: Workflow, observations: Observations) -> Callable[[int], Observed]:
    """Return what tells the observations of a step: one cycle's, or all of them where there are no cycles.

    Raises
    ------
    daflow.errors.DataError
        As `cycles_of`, or the covariance of the errors cannot be used.
    daflow.errors.CombinationError
        Errors of different cycles depend on each other.
    """
    values = np.asarray(observations.table["value"], dtype=np.float64)
    cycles = cycles_of(workflow, observations.table)
    if not cycles:
        everything = Observed(values, covariance_of(observations), observations.numbers)
        return lambda _: everything
    if observations.error:
        covariance_of(observations)  # what is wrong with any of it is told now
    errors = _errors(observations.error, [cycle for cycle in cycles if cycle.goes_on])
    every = n_repeats(workflow) + 1

    def observed(step: int) -> Observed:
        rows = slice(cycles[step].first, cycles[step].last)
        table = {name: column[rows] for name, column in observations.table.items()}
        numbers = None if observations.numbers is None else observations.numbers[rows]
        return Observed(values[rows], covariance_of(Observations(table, errors[step // every])), numbers)

    return observed


def _times(cycling: CyclingSettings, table: ObservationTable) -> FloatArray:
    times = np.asarray(table["time"], dtype=np.float64)
    bad = np.flatnonzero(~(times > cycling.start))
    if bad.size:
        row = int(bad[0])
        raise DataError(
            f"cycling: {bad.size} of {times.size} observations have no time after the start",
            got=f"observation {row} ({table['kind'][row]} {table['name'][row]}) at {times[row]:g}",
            allowed=f"times above cycling.start = {cycling.start:g}",
            do="give each observation its time, leave out what is earlier, or set cycling.start",
        )
    return times


def _stops(cycling: CyclingSettings, times: FloatArray) -> FloatArray:
    """Return the end of the cycle that each observation is in (n_obs,)."""
    if cycling.window is not None:
        turns = (times - cycling.start) / cycling.window
        near = np.round(turns)
        at_the_end = np.abs(turns - near) <= SAME * np.maximum(near, 1.0)
        return cycling.start + np.where(at_the_end, np.maximum(near, 1.0), np.ceil(turns)) * cycling.window
    distinct, which = np.unique(times, return_inverse=True)
    scale = SAME * np.maximum(np.abs(distinct[1:]), distinct[1:] - cycling.start)
    group = np.append(0, np.cumsum(np.diff(distinct) > scale))
    first = np.append(True, np.diff(group) > 0)
    stops: FloatArray = distinct[first][group][which]
    return stops


def _errors(error: Arrays, cycles: Sequence[Cycle]) -> Sequence[Arrays]:
    """Return what `daflow.ports.Observations.error` is of each cycle's observations alone."""
    if len(cycles) == 1 or not error:
        return [error] * len(cycles)
    if "blocks" in error:
        return list(_blocks(error["blocks"], error["block_sizes"], cycles))
    if "matrix" in error:
        return list(_matrices(error["matrix"], cycles))
    raise CombinationError(
        "cycling: errors with common causes make the cycles depend on each other",
        got="observations.error.kind: low_rank",
        allowed="diagonal, or block with every block within a cycle",
        do="set observations.error.kind: diagonal, or a window that holds all observations",
    )


def _blocks(
    flat: NDArray[np.generic], sizes: NDArray[np.generic], cycles: Sequence[Cycle]
) -> Iterator[Arrays]:
    lengths = np.asarray(sizes, dtype=np.int64)
    stops = np.cumsum(lengths)
    ends = np.array([cycle.last for cycle in cycles])
    cut = np.setdiff1d(ends, stops)
    if cut.size:
        number = int(np.searchsorted(stops, cut[0]))
        first, last = int(stops[number] - lengths[number]), int(stops[number]) - 1
        raise CombinationError(
            f"cycling: block {number} of the observation errors lies in more than one cycle",
            got=f"observations {first} to {last}, a cycle ends with observation {cut[0] - 1}",
            allowed="blocks that lie within a cycle: errors of different cycles are independent",
            do="part the block, or choose a cycling.window that ends with it",
        )
    places = np.append(0, np.cumsum(lengths**2))
    numbers = [0, *(np.searchsorted(stops, ends) + 1).tolist()]
    for first, last in pairwise(numbers):
        yield {"blocks": flat[places[first] : places[last]], "block_sizes": sizes[first:last]}


def _matrices(matrix: NDArray[np.generic], cycles: Sequence[Cycle]) -> Iterator[Arrays]:
    for number, cycle in enumerate(cycles):
        rows = matrix[cycle.first : cycle.last]
        if rows[:, : cycle.first].any() or rows[:, cycle.last :].any():
            raise CombinationError(
                f"cycling: the errors of cycle {number} depend on those of other cycles",
                got=f"observations.error.kind: dense, rows {cycle.first} to {cycle.last - 1}",
                allowed="a matrix that is 0 between observations of different cycles",
                do="set observations.error.kind: diagonal or block, or a window that holds all observations",
            )
        yield {"matrix": rows[:, cycle.first : cycle.last]}
