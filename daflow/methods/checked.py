"""A method that is fitted, step by step, to the observations that are believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from daflow.errors import DataError
from daflow.methods.judging import FLAGS, Judge, Verdict
from daflow.ports import (
    Arrays,
    BlockReader,
    FloatArray,
    Method,
    Prepared,
    SliceInput,
    SlicePoints,
    StepInput,
    Surveying,
)
from daflow.records import Cycle

PREFIX: Final = "checked."
"""What the names of the arrays begin with that are kept beside those of the method inside."""
RULES: Final = PREFIX + "rules"
"""By what was judged: a branch with other settings judges anew at its first step."""
WHERE: Final = PREFIX + "where."
"""What those begin with that say where the numbers of a slice lie."""
GAP: Final = 1024
"""Observations between two that are read in one go rather than in two."""
LONGEST: Final = 2**16
"""Observations that are read in one go, at most."""

Averages = sparse.csr_array[np.float64, tuple[int, int]]


class Fitted(NamedTuple):
    """A method, and how its observations are made of those that are used."""

    method: Method
    averages: Averages | None = None
    """(n, n_used); ``None``: they are those."""


@dataclass(frozen=True, eq=False)
class Checked:
    """Leaves observations out, or raises their errors, by what the forecast says; averages what is left.

    A smoother looks at all observations in its first forecast and keeps to what it finds, so that all its
    updates have one aim; an observation that some member does not predict is left out from that step on. A
    filter looks at each cycle's observations in that cycle. A method that asks where the numbers of a slice
    lie is told anew at each step, for what is in their reach changes: what it makes of that, once a run
    otherwise, it makes at each survey and update.

    Laws: where nothing is flagged the bits are those of the method inside; an observation that is left out
    might as well not be there, and the others draw the random numbers that they would draw beside it.

    Parameters
    ----------
    judge
        Says which observations to believe; ``None``: all.
    make
        Fits a method to all observations, given what multiplies the standard deviations (n_obs,) of their
        errors: infinite for those that are left out.
    n_obs
        How many observations there are.
    cycles
        A filter's; none: every step has all observations.
    """

    judge: Judge | None
    make: Callable[[FloatArray], Fitted]
    n_obs: int
    cycles: tuple[Cycle, ...] = ()
    _made: dict[bytes, Fitted] = field(default_factory=dict, repr=False)

    @property
    def n_steps(self) -> int:
        """How many updates the method makes at most."""
        return self._of_all.n_steps

    def base(self, step: int) -> int:
        """Return from which step's members the update of a step starts."""
        return self._of_all.base(step)

    def prepare(self, given: StepInput) -> Prepared:
        """Return what the method inside prepares of the observations that are used, and which these are.

        Cost: a pass over the predictions beside the method's own.

        Raises
        ------
        daflow.errors.DataError
            No observation is left to a smoother.
        """
        verdict, figures = self._judged(given), {}
        kept: dict[str, NDArray[Any]] = {}
        if verdict is not None:
            figures = verdict.figures()
            rules = {} if self.judge is None else {RULES: self.judge.rules}
            kept = {PREFIX + "flags": verdict.flags, PREFIX + "scale": verdict.scale, **rules}
            if not verdict.kept.size:
                return Prepared({**_inner(given.before), **self._nothing_left(verdict, kept)}, figures)
        fitted, scale = self._fitted(given.step, kept), verdict and verdict.scale
        inside = self._seen(given, fitted, scale)
        prepared = fitted.method.prepare(inside)
        arrays = {**prepared.arrays, **kept}
        return replace(prepared, arrays=arrays, figures={**prepared.figures, **figures})

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return where the numbers of a slice lie, if the method asks for that."""
        try:
            return self._of_all.localize(_ask)
        except _AskedWhere:
            points = locate()
        named = {each.name: np.asarray(getattr(points, each.name)) for each in fields(SlicePoints)}
        return {WHERE + name: values for name, values in named.items()}

    def apply(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Turn a prior slice (n_members, n) into the posterior, in place; nothing where nothing is used."""
        if self._idle(given.factors):
            return given.carried
        method = self._fitted(given.step, given.factors).method
        return method.apply(self._slice(given, method), slab)

    @property
    def _of_all(self) -> Method:
        return self._fitted(0, {}).method

    def _rows(self, step: int) -> range:
        return range(self.cycles[step].first, self.cycles[step].last) if self.cycles else range(self.n_obs)

    def _judged(self, given: StepInput) -> Verdict | None:
        """Return which of a step's observations are used; ``None``: nobody asks."""
        if self.judge is None:
            return None
        rows, n_members = self._rows(given.step), len(given.members)
        if self.cycles or not np.array_equal(given.before.get(RULES, ()), self.judge.rules):
            return self.judge.first(given.predicted, n_members, rows)
        before = Verdict(given.before[PREFIX + "flags"], given.before[PREFIX + "scale"])
        return self.judge.later(given.predicted, n_members, rows, before)

    def _nothing_left(self, verdict: Verdict, kept: Arrays) -> Arrays:
        """Return what is kept of a cycle without observations that are used: its forecast is the analysis."""
        if self.cycles:
            return kept
        counts = np.bincount(verdict.flags, minlength=len(FLAGS))[1:]
        raise DataError(
            "no observation is left to learn from",
            got=", ".join(f"{n} {name}" for name, n in zip(FLAGS[1:], counts.tolist(), strict=True)),
            allowed="at least one that every member predicts and that is not left out",
            do="raise the thresholds of observations.background_check and observations.outliers, or widen "
            "the prior; with missing predictions, look at why the model leaves them out",
        )

    def _fitted(self, step: int, factors: Arrays) -> Fitted:
        """Return the method that fits the observations that a step uses; made when it is first asked for."""
        scale = np.ones(self.n_obs)
        rows = self._rows(step)
        scale[rows.start : rows.stop] = factors.get(PREFIX + "scale", 1.0)
        key = _key(scale)
        found = self._made.get(key)
        if found is None:
            found = self.make(scale)
            # Kept are the first, mostly that of all observations, and the last, that of the step at hand.
            for old in list(self._made)[1:]:
                self._made.pop(old, None)
            self._made[key] = found
        return found

    def _seen(self, given: StepInput, fitted: Fitted, scale: FloatArray | None) -> StepInput:
        """Return the step as the method inside sees it."""
        reader = given.predicted
        if scale is not None and not np.isfinite(scale).all():
            reader = chosen(reader, np.flatnonzero(np.isfinite(scale)))
        if fitted.averages is not None:
            reader = averaged(reader, fitted.averages)
        return replace(given, predicted=reader, before=_inner(given.before))

    def _slice(self, given: SliceInput, method: Method) -> SliceInput:
        places = given.places
        if WHERE + "variable" in places:
            start = int(places[WHERE + "start"])
            points = SlicePoints(places[WHERE + "variable"], places[WHERE + "coordinates"], start)
            places = method.localize(lambda: points)
        return replace(given, factors=_inner(given.factors), places=places)

    @staticmethod
    def _idle(factors: Arrays) -> bool:
        scale = factors.get(PREFIX + "scale")
        return scale is not None and not np.isfinite(scale).any()


@dataclass(frozen=True, eq=False)
class CheckedSurveying(Checked):
    """The same of a method that has to know something of the whole prior."""

    def survey(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what `conclude` needs to know of a prior slice (n_members, n), which is left as it is."""
        if self._idle(given.factors):
            return {}
        method = self._fitted(given.step, given.factors).method
        return cast("Surveying", method).survey(self._slice(given, method), slab)

    def conclude(self, given: StepInput, factors: Arrays, found: Iterable[Arrays]) -> Prepared:
        """Return what `apply` needs to know of all slices: what their surveys found, in their order."""
        if self._idle(factors):
            return Prepared({})
        fitted = self._fitted(given.step, factors)
        inside = self._seen(given, fitted, factors.get(PREFIX + "scale"))
        return cast("Surveying", fitted.method).conclude(inside, _inner(factors), found)


def checked_method(
    judge: Judge | None, make: Callable[[FloatArray], Fitted], n_obs: int, cycles: tuple[Cycle, ...] = ()
) -> Checked:
    """Return the method that ``make`` fits, as `Checked`, which surveys if that does."""
    everything = np.ones(n_obs)
    of_all = make(everything)
    kind = CheckedSurveying if hasattr(of_all.method, "survey") else Checked
    return kind(judge, make, n_obs, cycles, {_key(everything): of_all})


def _key(scale: FloatArray) -> bytes:
    return blake2b(scale.tobytes()).digest()


class _AskedWhere(Exception):  # noqa: N818 - no error: the answer to a question
    """A method asks where numbers lie: what it would make of that depends on the step."""


def _ask() -> SlicePoints:
    raise _AskedWhere


def chosen(reader: BlockReader, rows: NDArray[np.int64]) -> BlockReader:
    """Return a reader of some of the observations, counted among themselves.

    Law: the numbers are those that the reader gives. Memory: blocks of at most `LONGEST` observations beside
    what is returned.

    Parameters
    ----------
    rows : (n,)
        Which, rising.
    """

    def read(start: int, stop: int) -> FloatArray:
        asked = rows[start:stop]
        if not asked.size:
            return reader(0, 0)
        pieces = [reader(int(run[0]), int(run[-1]) + 1).take(run - run[0], axis=1) for run in _runs(asked)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    return read


def averaged(reader: BlockReader, averages: Averages) -> BlockReader:
    """Return a reader of averages of observations; ``averages`` (n, n_obs) says which."""

    def read(start: int, stop: int) -> FloatArray:
        part = averages[start:stop]
        rows = np.unique(part.indices).astype(np.int64)
        values = chosen(reader, rows)(0, rows.size)
        return np.ascontiguousarray((part[:, rows] @ values.T).T)

    return read


def _runs(rows: NDArray[np.int64]) -> Iterable[NDArray[np.int64]]:
    """Return the rows in runs that are read in one go each."""
    apart = np.diff(rows) > GAP
    lengths = np.diff(rows // LONGEST) > 0
    return np.split(rows, np.flatnonzero(apart | lengths) + 1)


def _inner(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of the method inside."""
    return {name: array for name, array in arrays.items() if not name.startswith(PREFIX)}
