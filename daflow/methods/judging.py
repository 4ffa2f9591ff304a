"""What the predictions of an ensemble say about observations: which to believe, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.observations.quality import robust_outliers
from daflow.ports import BlockReader, FloatArray

USED, BACKGROUND, OUTLIER, MISSING = range(4)
FLAGS: Final = ("used", "background", "outlier", "missing")
"""What the numbers mean that observations are flagged with."""
ACTIONS: Final = ("flag", "drop", "inflate")
"""What may be done about an observation that is beyond a threshold."""
WINDOW_NUMBERS: Final = 2**22
"""Numbers that are read at once."""

Flags = NDArray[np.int8]


class Verdict(NamedTuple):
    """What was found of the observations of a step."""

    flags: Flags
    """(n,) places in `FLAGS`: the first reason that was found."""
    scale: FloatArray
    """(n,) what multiplies the standard deviation of each one's error; infinite: it is left out."""

    @property
    def kept(self) -> NDArray[np.int64]:
        """(n_kept,) the places of those that are used, rising."""
        return np.flatnonzero(np.isfinite(self.scale))

    def figures(self) -> dict[str, float]:
        """Return how many observations are used, flagged, left out and believed less."""
        counts = np.bincount(self.flags, minlength=len(FLAGS))
        found = {f"obs_{name}": float(n) for name, n in zip(FLAGS[1:], counts[1:], strict=True)}
        inflated = np.isfinite(self.scale) & (self.scale > 1)
        return {
            "obs_used": float(self.kept.size),
            **found,
            "obs_left_out": float(self.scale.size - self.kept.size),
            "obs_inflated": float(inflated.sum()),
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold, and what is done about an observation beyond it."""

    threshold: float
    action: str
    """One of `ACTIONS`."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Looks at observations through the predictions of them.

    Parameters
    ----------
    values, variances : (n_obs,)
        What was observed, and the variances of its errors.
    kinds : (n_obs,)
        The number of each one's kind.
    background
        Of departures in units of sqrt(spread^2 + error^2).
    outliers
        Of departures from those of the same kind, in robust standard deviations.
    """

    values: FloatArray
    variances: FloatArray
    kinds: NDArray[np.int64]
    background: Check | None = None
    outliers: Check | None = None

    @property
    def rules(self) -> FloatArray:
        """What tells judges apart that judge the same observations: thresholds and actions, by number."""
        checks = (self.background, self.outliers)
        pairs = [(c.threshold, ACTIONS.index(c.action)) if c else (0.0, 0) for c in checks]
        return np.array(pairs, dtype=np.float64).ravel()

    def first(self, predicted: BlockReader, n_members: int, rows: range) -> Verdict:
        """Return what the first predictions of some observations say, all checks made.

        Laws: units do not matter; a larger threshold never flags more; what is missing is not judged.

        Parameters
        ----------
        predicted
            Reads them, counted from the first of ``rows``; NaN where missing.
        n_members
            How many members predict.
        rows
            Which of the observations.
        """
        departures, spread = self._moments(predicted, n_members, rows)
        error, kinds = self.variances[rows.start : rows.stop], self.kinds[rows.start : rows.stop]
        verdict = _of_missing(np.isnan(departures))
        if self.background is not None:
            _judge_background(verdict, self.background, np.square(departures), (spread, error))
        if self.outliers is not None:
            _judge_outliers(verdict, self.outliers, departures / np.sqrt(error), kinds)
        return verdict

    def later(self, predicted: BlockReader, n_members: int, rows: range, before: Verdict) -> Verdict:
        """Return what was found before, less what is missing now: what is left out stays out."""
        departures, _ = self._moments(predicted, n_members, rows)
        missing = _of_missing(np.isnan(departures))
        flags = np.where(before.flags == USED, missing.flags, before.flags)
        return Verdict(flags, np.maximum(before.scale, missing.scale))

    def _moments(self, predicted: BlockReader, n_members: int, rows: range) -> tuple[FloatArray, FloatArray]:
        """Return departures from the mean and variances of the predictions (n,); NaN where one is missing."""
        departures, spread = np.empty(len(rows)), np.empty(len(rows))
        for where in _windows(len(rows), n_members):
            block = predicted(where.start, where.stop)
            departures[where] = self.values[rows.start :][where] - block.mean(axis=0)
            spread[where] = block.var(axis=0, ddof=1)
        return departures, spread


def _judge_background(
    verdict: Verdict, check: Check, squares: FloatArray, expected: tuple[FloatArray, FloatArray]
) -> None:
    """Flag what departs more, squared, than ensemble and errors together allow; NaN departs from nothing."""
    spread, error = expected
    allowed = squares / check.threshold**2
    far = allowed > spread + error
    if check.action == "inflate":
        # Above 1, for allowed - spread > error there.
        verdict.scale[far] = np.sqrt((allowed[far] - spread[far]) / error[far])
    _mark(verdict, far, BACKGROUND, check.action)


def _judge_outliers(verdict: Verdict, check: Check, departures: FloatArray, kinds: NDArray[np.int64]) -> None:
    """Flag what departs, in units of its error, unlike the others of its kind."""
    there = ~np.isnan(departures)
    far = np.zeros(departures.size, dtype=np.bool_)
    for kind in np.unique(kinds):
        which = np.flatnonzero((kinds == kind) & there)
        far[which] = robust_outliers(departures[which], check.threshold)
    _mark(verdict, far, OUTLIER, check.action)


def _of_missing(missing: NDArray[np.bool_]) -> Verdict:
    return Verdict(np.where(missing, MISSING, USED).astype(np.int8), np.where(missing, np.inf, 1.0))


def _mark(verdict: Verdict, found: NDArray[np.bool_], flag: int, action: str) -> None:
    verdict.flags[found & (verdict.flags == USED)] = flag
    if action == "drop":
        verdict.scale[found] = np.inf


def _windows(n_obs: int, n_members: int) -> Iterator[slice]:
    size = max(WINDOW_NUMBERS // n_members, 1)
    for start in range(0, n_obs, size):
        yield slice(start, min(start + size, n_obs))
