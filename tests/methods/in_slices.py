"""A method's step on arrays: sliced anyhow, surveyed where it asks for that, its carried arrays handed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from daflow.ports import Arrays, Method, Prepared, SliceInput, SlicePoints, StepInput
from daflow.records import StateSlice


@dataclass
class InSlices:
    """Steps of a method over a state that is cut into slices."""

    method: Method
    points: SlicePoints
    """Where all numbers of the state lie."""
    cuts: Sequence[int] = ()
    before: Arrays = field(default_factory=dict)
    carried: dict[int, Arrays] = field(default_factory=dict)

    def slices(self):
        n = len(self.points.variable)
        bounds = [0, *self.cuts, n]
        return [StateSlice(i, *pair) for i, pair in enumerate(pairwise(bounds))]

    def step(self, step: int, prior, predicted, members: Sequence[int] | None = None):
        """Return the posterior of a prior (n_members, n), and what was prepared."""
        members = range(len(prior)) if members is None else members
        given = StepInput(step, members, lambda a, b: predicted[:, a:b].copy(), self.before)
        prepared = self.method.prepare(given)
        factors = dict(prepared.arrays)
        if hasattr(self.method, "survey"):
            found = [
                self.method.survey(
                    self._input(step, where, members, factors), prior[:, where.start : where.stop]
                )
                for where in self.slices()
            ]
            concluded = self.method.conclude(given, factors, iter(found))
            factors |= concluded.arrays
            figures = {**prepared.figures, **concluded.figures}
            prepared = Prepared(factors, figures, prepared.last or concluded.last)
        posterior = np.array(prior)
        for where in self.slices():
            slab = posterior[:, where.start : where.stop].copy()
            self.carried[where.index] = self.method.apply(self._input(step, where, members, factors), slab)
            posterior[:, where.start : where.stop] = slab
        self.before = factors
        return posterior, prepared

    def _input(self, step, where, members, factors):
        points = SlicePoints(
            self.points.variable[where.start : where.stop],
            self.points.coordinates[where.start : where.stop],
            where.start,
        )
        places = self.method.localize(lambda: points)
        return SliceInput(step, where, members, factors, places, self.carried.get(where.index, {}))
