"""Which points hear which observations, and how loudly: found once, used at every step.

Points that lie together hear nearly the same observations. So points are gathered in cells, each cell with
the observations in reach of any of its points: an update then costs a cell a few small matrix products, and
nothing of size points x observations ever exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daflow.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Cell = tuple[IntArray, IntArray, FloatArray | None]
"""A cell's points (p,), observations (q,) and weights (q, p), ``None`` if untapered."""


@dataclass(frozen=True, slots=True)
class Group:
    """The cells of one variable: a point that hears anything is in one of them."""

    tapered: list[Cell]
    untapered: Cell | None
    """The observations that all points of the group hear in full, and the points that hear nothing else."""

    @property
    def everywhere(self) -> IntArray:
        """The observations (q,) that all points of the group hear in full."""
        return np.zeros(0, np.int64) if self.untapered is None else self.untapered[1]


@dataclass(frozen=True, slots=True)
class LocalizationPlan:
    """Which points hear which observations, and how loudly: made once, used at every step.

    Cell c holds ``points[point_starts[c]:point_starts[c + 1]]``, hears the observations
    ``obs[obs_starts[c]:obs_starts[c + 1]]`` and weighs them by the matrix (observations, points) stored
    flat in ``weights[weight_starts[c]:weight_starts[c + 1]]``. The cells ``group_starts[g]`` to
    ``group_starts[g + 1]`` make a group. A cell with observations but no weights is the last of its group:
    the other cells' points hear its observations too, in full. No point lies in two cells.
    """

    n_state: int
    n_obs: int
    group_starts: IntArray
    point_starts: IntArray
    points: IntArray
    obs_starts: IntArray
    obs: IntArray
    weight_starts: IntArray
    weights: FloatArray

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return len(self.point_starts) - 1

    @property
    def n_pairs(self) -> int:
        """How many weights are stored; 8 bytes each."""
        return len(self.weights)

    def groups(self) -> Iterator[Group]:
        """Yield the cells of each variable, in the plan's order."""
        for first, last in pairwise(self.group_starts.tolist()):
            cells = [self._cell(number) for number in range(first, last)]
            untapered = cells.pop() if cells and cells[-1][2] is None else None
            yield Group(cells, untapered)

    def _cell(self, number: int) -> Cell:
        starts = (self.point_starts, self.obs_starts, self.weight_starts)
        (p0, o0, w0), (p1, o1, w1) = (tuple(start[number + i] for start in starts) for i in (0, 1))
        weights = self.weights[w0:w1].reshape(o1 - o0, p1 - p0) if w1 > w0 else None
        return self.points[p0:p1], self.obs[o0:o1], weights

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the plan as named arrays, to be kept by a store.

        Laws: `from_arrays` gives the same plan back.
        """
        return {part.name: np.asarray(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> LocalizationPlan:
        """Return the plan that `to_arrays` took apart.

        Raises
        ------
        daflow.errors.DataError
            An array is missing, or they do not belong together.
        """
        names = [part.name for part in fields(cls)]
        missing = [name for name in names if name not in arrays]
        if missing:
            do = "make the plan again with plan_localization"
            raise DataError("A localization plan lacks arrays", got=", ".join(missing), do=do)
        n_state, n_obs = int(arrays["n_state"]), int(arrays["n_obs"])
        indices = {name: np.asarray(arrays[name], np.int64) for name in names[2:-1]}
        plan = cls(n_state, n_obs, **indices, weights=np.asarray(arrays["weights"], np.float64))
        _check_plan(plan)
        return plan


def _check_plan(plan: LocalizationPlan) -> None:
    starts = (plan.point_starts, plan.obs_starts, plan.weight_starts)
    same = len({len(each) for each in starts}) == 1
    p, q, w = (np.diff(each) for each in starts) if same else np.full((3, 1), -1)
    tapered = w > 0
    sound = (
        all(np.all(sizes >= 0) for sizes in (p, q, w, np.diff(plan.group_starts)))
        and np.all(w[tapered] == (p * q)[tapered])
        and np.all(np.isin(np.flatnonzero(~tapered) + 1, plan.group_starts))
        and plan.group_starts[-1] == len(p)
        and plan.point_starts[-1] == len(plan.points)
        and plan.obs_starts[-1] == len(plan.obs)
        and plan.weight_starts[-1] == len(plan.weights)
        and np.all((plan.obs >= 0) & (plan.obs < plan.n_obs))
        and np.all((plan.points >= 0) & (plan.points < plan.n_state))
        and np.bincount(plan.points, minlength=1).max() <= 1
    )
    if not sound:
        do = "make the plan again with plan_localization"
        raise DataError("The arrays of a localization plan do not belong together", do=do)
