"""Localization by a function of the user's, which says how far each observation reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError
from daflow.methods.locality import PlannedLocality
from daflow.numerics.arrays.validation import finite_array
from daflow.numerics.localization.distance import IntArray
from daflow.numerics.localization.given_weights import NEIGHBOURS, plan_of_blocks
from daflow.numerics.localization.weighing import Found, Pairs, Weighing
from daflow.ports import Arrays, FloatArray, ObservationTable, SlicePoints

PointTable = Mapping[str, NDArray[Any]]
"""Columns of equal length (n,): ``variable`` (its name), ``number`` (its place in the variable's array, in
C order), ``x``, ``y``, ``z`` (NaN along axes that a variable does not have)."""


@dataclass(frozen=True, eq=False)
class FunctionLocality(PlannedLocality):
    """Weights that a function of points and observations returns: rivers, networks, expert knowledge.

    It is called once a run and slice, with some hundreds of points at a time.

    Parameters
    ----------
    function
        (points, observations) -> weights (n, n_obs) in [0, 1].
    name
        How messages call it.
    table
        The observations, as a model sees them.
    variables
        Name and first place along ``state`` of each variable.
    """

    function: Callable[[PointTable, ObservationTable], Any]
    name: str
    table: ObservationTable
    variables: tuple[tuple[str, int], ...]

    def plan(self, points: SlicePoints) -> Arrays:
        """Return which observations the points of a slice hear, and how loudly."""
        return plan_of_blocks(self._blocks(points), len(self.table["name"])).to_arrays()

    def _blocks(self, points: SlicePoints) -> Iterator[FloatArray]:
        at_once = 8 * NEIGHBOURS
        for start in range(0, len(points.variable), at_once):
            some = slice(start, start + at_once)
            variable, places = points.variable[some], points.coordinates[some]
            weights = self._weights(points.start + start + np.arange(len(variable)), variable, places)
            yield from (weights[first : first + NEIGHBOURS] for first in range(0, len(weights), NEIGHBOURS))

    def weighing(self) -> Weighing:
        """Return the same weights, of any pairs."""

        def weigh(pairs: Pairs, _: Found) -> FloatArray:
            return self._weights(pairs.numbers, pairs.variable, pairs.coordinates)[:, pairs.obs]

        return Weighing(weigh, why_none_among=f"{self.name} weighs numbers of the state")

    def _weights(self, numbers: IntArray, variable: IntArray, coordinates: FloatArray) -> FloatArray:
        names = np.array([name for name, _ in self.variables])
        firsts = np.array([first for _, first in self.variables])
        x, y, z = coordinates.T
        points = {
            "variable": names[variable],
            "number": numbers - firsts[variable],
            "x": x,
            "y": y,
            "z": z,
        }
        try:
            returned = self.function(points, self.table)
        except Exception as problem:  # a function may raise anything
            raise DataError(
                f"localization: {self.name} failed",
                got=f"{type(problem).__name__}: {problem}",
                do="call it with a table of points and one of observations until it works",
            ) from problem
        weights = finite_array(
            f"what {self.name} returned", returned, (len(numbers), len(self.table["name"]))
        )
        if weights.size and (weights.min() < 0 or weights.max() > 1):
            raise DataError(
                f"localization: a weight that {self.name} returned is out of range",
                got=[float(weights.min()), float(weights.max())],
                allowed="[0, 1]",
            )
        return weights

    def check(self) -> None:
        """Call the function for the first number of the state.

        Raises
        ------
        daflow.errors.DataError
            It fails, or returns something else than weights.
        """
        one = np.zeros(1, np.int64)
        self._weights(one, one, np.zeros((1, 3)))
