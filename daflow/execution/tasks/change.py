"""The arithmetic of one slice's update: into the spaces of its variables, the method, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import RunError
from daflow.execution.tasks.workbench import Margins
from daflow.numerics.arrays.precision import store_into
from daflow.numerics.diagnostics.moments import Moments, moments_of
from daflow.numerics.priors.transforms import FittedTransform, Identity, clip
from daflow.ports import StoredArray
from daflow.records import Layout, StateSlice

SPREAD_BEFORE, SPREAD_AFTER = "spread_before.", "spread_after."
"""Figures of an update, one a variable: the sum over its numbers of the ensemble's standard deviation."""
MOVED, MOVED_IN_SPREAD = "moved.", "moved_in_spread."
"""Figures of an update, one a variable: the sum over its numbers of the squared change of the ensemble's
mean, in the variable's unit and in units of each number's standard deviation before. What had none adds 0."""
ROUNDING = 8
"""A spread of so many roundings of the mean is none."""
BLOCK = 1024
"""Numbers of each member that are transformed together: temporaries stay in the cache."""


@dataclass(frozen=True, slots=True)
class Change:
    """An update of one slice, in place.

    Parameters
    ----------
    layout
        Says which variables are in the slice.
    margins
        One for each variable of the layout.
    where
        The slice.
    members
        The numbers of its members, for the message of an error.
    """

    layout: Layout
    margins: Sequence[Margins]
    where: StateSlice
    members: Sequence[int]

    def make(self, values: StoredArray, apply: Callable[[StoredArray], None]) -> dict[str, float]:
        """Turn a prior slice (n_members, n) into the posterior; return its figures.

        Where no variable is transformed, the method works on the numbers as they are stored; else in
        float64, on a copy if they are stored otherwise.

        Raises
        ------
        daflow.errors.RunError
            The posterior is not finite.
        daflow.errors.DataError
            A number that its transform cannot take, or the type cannot hold.
        """
        before = self._moments(values)
        figures = _spreads(SPREAD_BEFORE, before)
        fitted = list(self._fitted(values))
        if fitted:
            work = values.astype(np.float64, copy=False)
            for columns, transform, _ in fitted:
                work[:, columns] = transform.forward(work[:, columns])
            apply(work)
            figures["clipped"] = self._back(fitted, work, values)
        else:
            apply(values)
            figures["clipped"] = 0
        after = self._moments(values)
        spreads = _spreads(SPREAD_AFTER, after)
        if not np.isfinite(list(spreads.values())).all():
            self.check(values)
        return figures | spreads | _moves(before, after, float(np.finfo(values.dtype).eps))

    def forward(self, values: StoredArray) -> StoredArray:
        """Return a prior slice in the space that it is updated in: as it is, or a transformed copy.

        Raises
        ------
        daflow.errors.DataError
            A number that its transform cannot take.
        """
        fitted = list(self._fitted(values))
        if not fitted:
            return values
        work = values.astype(np.float64)
        for columns, transform, _ in fitted:
            work[:, columns] = transform.forward(work[:, columns])
        return work

    def check(self, posterior: NDArray[Any], first: int = 0) -> None:
        """Refuse numbers that are not finite; ``first`` says where in the slice the columns begin.

        Raises
        ------
        daflow.errors.RunError
            One is not.
        """
        # A sum is finite only if every term is, up to overflow, which the mask then tells apart.
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(posterior.sum()):
                return
        bad = np.argwhere(~np.isfinite(posterior))
        if len(bad):
            row, column = bad[0]
            place = self.where.start + first + column
            raise RunError(
                f"the update of slice {self.where.index} is not finite",
                got=f"{posterior[row, column]} for member {self.members[row]} at state {place}",
                allowed="finite numbers",
                do="look at that member's predictions and at the transform of the variable there",
            )

    def _fitted(self, values: StoredArray) -> Iterator[tuple[slice, FittedTransform, Margins]]:
        """Yield the blocks of a slice that has anything to transform or to clip, fitted to the prior."""
        segments = [
            (self.margins[self.layout.variables.index(variable)], start, stop)
            for variable, start, stop in self.layout.segments(self.where)
        ]
        if all(isinstance(m.transform, Identity) and m.clip is None for m, _, _ in segments):
            return
        for margins, begin, end in segments:
            for start in range(begin, end, BLOCK):
                columns = slice(start, min(start + BLOCK, end))
                yield columns, margins.transform.fit(values[:, columns]), margins

    def _back(
        self,
        fitted: Sequence[tuple[slice, FittedTransform, Margins]],
        work: NDArray[np.float64],
        values: StoredArray,
    ) -> int:
        """Return from the transformed spaces; say how many numbers were clipped."""
        n_clipped = 0
        for columns, transform, margins in fitted:
            block = work[:, columns]
            self.check(block, columns.start)
            back = transform.inverse(block)
            if margins.clip is not None:
                back, n = clip(back, *margins.clip)
                n_clipped += n
            store_into(values[:, columns], back)
        return n_clipped

    def _moments(self, values: StoredArray) -> dict[str, Moments]:
        return {
            variable.name: moments_of(values[:, start:stop])
            for variable, start, stop in self.layout.segments(self.where)
        }


def _spreads(which: str, moments: Mapping[str, Moments]) -> dict[str, float]:
    return {which + name: each.total_spread for name, each in moments.items()}


def _moves(before: Mapping[str, Moments], after: Mapping[str, Moments], precision: float) -> dict[str, float]:
    """Return how far the means moved; nothing of a variable whose numbers are too large to be squared."""
    figures: dict[str, float] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for name, prior in before.items():
            moved = after[name].mean - prior.mean
            figures[MOVED + name] = float(moved @ moved)
            # Members that agree have a spread of rounding errors, and may be moved by as much.
            spread = prior.spread > ROUNDING * precision * np.abs(prior.mean)
            relative = np.divide(moved, prior.spread, out=np.zeros_like(moved), where=spread)
            figures[MOVED_IN_SPREAD + name] = float(relative @ relative)
    return {name: value for name, value in figures.items() if np.isfinite(value)}
