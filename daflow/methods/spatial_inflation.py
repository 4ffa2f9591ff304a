r"""A factor of its own for each number of the state, learnt from step to step.

As with Anderson (2009, Tellus A 61, 72), a step's forecast is inflated with what was known before its
observations; these then teach, through each number's correlation with the predictions, what the next step
starts from. Factors are of variances.

Anderson inflates the members before the observations are predicted from them. Here predictions come with the
forecast, from a model that is not asked again. So each prediction is taken for one more number of the state:
it has a factor that is learnt as all others are, and its anomalies are multiplied by the root of it. Where a
number is observed directly both factors are the same; where predictions depend on many numbers that are
inflated differently, or not linearly, what is done is an approximation. To leave the predictions as they are
would be worse: the gain of a directly observed number would become :math:`\sqrt\lambda P / (P + R)` in the
place of :math:`\lambda P / (\lambda P + R)`, which exceeds 1 where the inflation is large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.methods.inflated import OWN
from daflow.methods.inflations import widened
from daflow.numerics.arrays.validation import finite_array
from daflow.numerics.inflation.in_place import widen
from daflow.numerics.inflation.spatial import (
    Departures,
    InflationField,
    SparseTaper,
    departures_of,
    learn,
)
from daflow.ports import Arrays, BlockReader, FloatArray, Prepared, SliceInput, SlicePoints, StepInput

PAIRS: Final = 2**20
"""Pairs of number and observation that are looked at together: their weights take some 16 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenSpatially:
    """The observations of a step, as a spatial inflation needs them."""

    values: FloatArray
    """(n_obs,)"""
    variances: FloatArray
    """(n_obs,) of their errors, which are independent."""
    places: NDArray[np.int64]
    """(n_obs,) a number for each, all different: the same at another step for what is observed again."""
    taper: Callable[[SlicePoints], SparseTaper] | None = None
    """Returns the weights (n, n_obs) of the observations at points; None: all are 1."""
    among: Callable[[slice], SparseTaper] | None = None
    """Returns the weights (n, n_obs) of the observations at some of their own places."""


@dataclass(frozen=True, eq=False)
class SpatialPrior:
    """A factor for each number of the state and each prediction, carried from step to step.

    Laws: a slice gives what the whole gives; a number that no observation reaches or is correlated with goes
    back to 1 by the damping; what is learnt is what `daflow.numerics.inflation.spatial.update_inflation`
    gives; all factors of 1 and no step after the first: nothing.

    Parameters
    ----------
    seen
        What is observed at a step.
    density
        A name in `daflow.numerics.inflation.spatial.DENSITIES`.
    initial
        The factor at the first step.
    deviations
        The least and the largest standard deviation of a factor; it starts with the largest.
    bounds
        The least and the largest factor.
    damping
        Before each step after the first a factor f becomes 1 + damping (f - 1).

    Notes
    -----
    Cost n_obs n_members for each number of the state that they reach, and for each of the predictions.
    Memory: two numbers for each of the slice, and arrays (n_members, n_obs).
    """

    seen: Callable[[int], SeenSpatially]
    density: str
    initial: float
    deviations: tuple[float, float]
    bounds: tuple[float, float]
    damping: float

    def learn(self, given: StepInput) -> Prepared:
        """Return the observations made ready for all slices, and the factors of their predictions."""
        seen = self.seen(given.step)
        n_obs = len(seen.values)
        read = given.predicted(0, n_obs)
        predicted = finite_array("predicted", read, (len(given.members), n_obs))
        departures = departures_of(predicted, seen.values, seen.variances)
        known = _Places.of(given.before, self._used)
        used = known.field(seen.places, self._first(n_obs))
        learnt = self._learnt(used, predicted, departures, seen.among)
        arrays = {
            f"{OWN}directions": departures.directions,
            f"{OWN}squared": departures.squared,
            f"{OWN}predicted_variance": departures.predicted_variance,
            f"{OWN}error_variance": departures.error_variance,
            f"{OWN}predicted_factor": used.factor,
            **known.updated(seen.places, learnt),
        }
        return Prepared(arrays, {"inflation": float(used.factor.mean())})

    def predicted(self, read: BlockReader, shared: Arrays) -> BlockReader:
        """Return what reads the predictions, each with its own variance multiplied."""
        return widened(read, np.sqrt(shared[f"{OWN}predicted_factor"]))

    def localize(self, locate: Callable[[], SlicePoints]) -> Arrays:
        """Return where the numbers of a slice lie, if that matters."""
        if self.seen(0).taper is None:
            return {}
        points = locate()
        return {f"{OWN}variable": points.variable, f"{OWN}coordinates": points.coordinates}

    def carry(self, given: SliceInput, slab: FloatArray) -> Arrays:
        """Return what is known after this step's observations of the factors of a slice (n,)."""
        shared, used = given.factors, self._of_slice(given)
        departures = Departures(
            shared[f"{OWN}directions"],
            shared[f"{OWN}squared"],
            shared[f"{OWN}predicted_variance"],
            shared[f"{OWN}error_variance"],
        )
        taper = self._taper(given)
        learnt = self._learnt(used, slab, departures, taper)
        return {f"{OWN}factor": learnt.factor, f"{OWN}std": learnt.deviation}

    def inflate(self, given: SliceInput, slab: FloatArray) -> None:
        """Multiply the variance of each number by its factor."""
        widen(slab, np.sqrt(self._of_slice(given).factor))

    def _taper(self, given: SliceInput) -> Callable[[slice], SparseTaper] | None:
        reach = self.seen(given.step).taper
        if reach is None:
            return None
        variable, coordinates = given.places[f"{OWN}variable"], given.places[f"{OWN}coordinates"]
        return lambda columns: reach(SlicePoints(variable[columns], coordinates[columns]))

    def _first(self, n: int) -> InflationField:
        return InflationField(np.full(n, self.initial), np.full(n, self.deviations[1]))

    def _of_slice(self, given: SliceInput) -> InflationField:
        if f"{OWN}factor" not in given.carried:
            return self._first(given.where.size)
        return self._used(InflationField(given.carried[f"{OWN}factor"], given.carried[f"{OWN}std"]))

    def _used(self, field: InflationField) -> InflationField:
        """Return what a step makes of what the one before has learnt."""
        return InflationField(
            np.clip(1.0 + self.damping * (field.factor - 1.0), *self.bounds), field.deviation
        )

    def _learnt(
        self,
        field: InflationField,
        ensemble: FloatArray,
        departures: Departures,
        taper: Callable[[slice], SparseTaper] | None,
    ) -> InflationField:
        factor, deviation = np.empty_like(field.factor), np.empty_like(field.deviation)
        n_obs = len(departures.squared)
        size = max(64, PAIRS // n_obs)
        for start in range(0, ensemble.shape[1], size):
            columns = slice(start, min(start + size, ensemble.shape[1]))
            found = learn(
                InflationField(field.factor[columns], field.deviation[columns]),
                ensemble[:, columns].astype(np.float64),
                departures,
                density=self.density,
                state_obs_taper=None if taper is None else taper(columns),
            )
            factor[columns], deviation[columns] = found
        return InflationField(np.clip(factor, *self.bounds), np.clip(deviation, *self.deviations))


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """What is known of the factors of predictions, by the places that have been observed so far."""

    numbers: NDArray[np.int64]
    """(n,) ascending."""
    known: InflationField
    """(n,)"""

    @classmethod
    def of(cls, before: Arrays, used: Callable[[InflationField], InflationField]) -> _Places:
        """Return what a step knows of what was prepared for the one before."""
        names = (f"{OWN}places", f"{OWN}place_factor", f"{OWN}place_std")
        if names[0] not in before:
            return cls(np.empty(0, np.int64), InflationField(np.empty(0), np.empty(0)))
        numbers, factor, deviation = (before[name] for name in names)
        return cls(numbers, used(InflationField(factor, deviation)))

    def field(self, places: NDArray[np.int64], first: InflationField) -> InflationField:
        """Return the field at places (n_obs,); ``first`` where nothing was observed before."""
        factor, deviation = first.factor.copy(), first.deviation.copy()
        _, mine, theirs = np.intersect1d(places, self.numbers, assume_unique=True, return_indices=True)
        factor[mine], deviation[mine] = self.known.factor[theirs], self.known.deviation[theirs]
        return InflationField(factor, deviation)

    def updated(self, places: NDArray[np.int64], field: InflationField) -> Arrays:
        """Return what the next step is to know."""
        others = ~np.isin(self.numbers, places)
        numbers = np.concatenate([self.numbers[others], places])
        order = np.argsort(numbers)
        return {
            f"{OWN}places": numbers[order],
            f"{OWN}place_factor": np.concatenate([self.known.factor[others], field.factor])[order],
            f"{OWN}place_std": np.concatenate([self.known.deviation[others], field.deviation])[order],
        }
