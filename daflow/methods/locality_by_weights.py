"""Localization by weights found when a slice is updated: of indices, of correlations, and products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from daflow.errors import CombinationError
from daflow.methods.locality import PlannedLocality, two_factors
from daflow.numerics.arrays.linalg import anomalies_of
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.localization.cells import LocalizationPlan
from daflow.numerics.localization.correlation_tapers import unit_anomalies
from daflow.numerics.localization.distance import IntArray
from daflow.numerics.localization.weighed_update import (
    WeighedFactors,
    Weights,
    add_weighed_analysis,
    add_weighed_increment,
    plan_everywhere,
    slice_blocks,
)
from daflow.numerics.localization.weighing import Pairs, Weighing
from daflow.numerics.obs_error.covariance import Covariance
from daflow.ports import Arrays, FloatArray, SliceInput, SlicePoints, StoredArray


@dataclass(frozen=True, eq=False)
class WeighedLocality:
    """Weights found block by block from indices and from correlations with the predictions; they multiply.

    Laws: a slice gives what the whole gives; with weights of one it is no localization; with one part the
    others of which are one it is that part. Memory: the step's factors, three arrays (n_obs, n_members), and
    blocks of 2^15 pairs.

    Parameters
    ----------
    tapers
        What the weights multiply: a name in `daflow.methods.locality.FACTORS`.
    weighings
        What weighs pairs, at each step anew.
    planned
        What is known once a run; the first says which observations a cell of points hears at all.
    obs_obs
        Whether the covariance of the predictions among themselves is weighed as well.
    """

    tapers: str
    weighings: tuple[Weighing, ...]
    planned: tuple[PlannedLocality, ...] = ()
    obs_obs: bool = False

    @property
    def surveys(self) -> bool:
        """Whether one of the weighings has to know something of all slices."""
        return any(each.survey is not None for each in self.weighings)

    def factors(
        self, predicted: FloatArray, observed: FloatArray, error: Covariance, settings: InversionSettings
    ) -> Arrays:
        """Return ``left``, ``right`` and ``unit``, the predictions' unit anomalies (n_obs, n_members).

        Raises
        ------
        daflow.errors.CombinationError
            What `daflow.methods.locality.Locality.factors` cannot do; a weighing that observations among
            themselves do not have.
        """
        if self.obs_obs:
            settings = replace(settings, obs_obs_taper=self._among(predicted))
        found = two_factors(self.tapers, predicted, observed, error, settings)
        return {**found, "unit": np.ascontiguousarray(unit_anomalies(predicted).T)}

    def _among(self, predicted: FloatArray) -> FloatArray:
        n_obs = predicted.shape[1]
        every = np.arange(n_obs)
        unit, nowhere = unit_anomalies(predicted).T, np.full((n_obs, 3), np.nan)
        pairs = Pairs(0, every, anomalies_of(predicted), every, unit, every * 0, nowhere)
        weights = np.ones((n_obs, n_obs))
        for each in self._all():
            if each.among is None:
                raise CombinationError(
                    "localization.obs_obs: same asks for weights of observations among themselves",
                    got=each.why_none_among,
                    allowed="localization.obs_obs: none",
                    do="set localization.obs_obs: none",
                )
            weights *= each.among(pairs)
        return 0.5 * (weights + weights.T)

    def _all(self) -> Iterator[Weighing]:
        yield from self.weighings
        yield from (each.weighing() for each in self.planned)

    def plan(self, points: SlicePoints) -> Arrays:
        """Return what the planned parts make of where points lie; nothing where there are none."""
        if not self.planned:
            return {}
        first, *others = self.planned
        kept = {"variable": points.variable, "coordinates": points.coordinates} if others else {}
        return {**first.plan(points), **kept}

    def survey(self, given: SliceInput, slab: StoredArray) -> Arrays:
        """Return the sums over a slice's pairs with all observations, whatever planned parts leave out."""
        unit, total = given.factors["unit"], dict[str, np.ndarray]()
        if not self.surveys:
            return total
        every, n = np.arange(len(unit)), slab.shape[1]
        places = _Places(given, np.zeros(n, np.int64), np.full((n, 3), np.nan))
        for points, departures in slice_blocks(slab, len(unit)):
            pairs = places.pairs(points, departures, every, unit)
            for number, each in enumerate(self.weighings):
                if each.survey is not None:
                    _add(total, _named(number, each.survey(pairs)))
        return total

    def conclude(self, factors: Arrays, found: Iterable[Arrays]) -> Arrays:  # noqa: ARG002 - as the others
        """Return what the weighings need to know of all slices.

        The single numbers are worth telling: ``localization_0_exponent`` and ``localization_0_mix`` are gamma
        and a of a correction by NICE, ``localization_0_noise_mean`` that of a noise found by shuffling.
        """
        total = dict[str, np.ndarray]()
        for each in found:
            _add(total, each)
        concluded: dict[str, np.ndarray] = {}
        for number, weighing in enumerate(self.weighings):
            if weighing.conclude is not None:
                concluded |= _named(number, weighing.conclude(_of(number, total)))
        return concluded

    def apply(self, given: SliceInput, slab: StoredArray) -> None:
        """Turn a prior slice (n_members, n) into the posterior, in place."""
        factors = WeighedFactors(*(given.factors[name] for name in WeighedFactors._fields))
        update = add_weighed_analysis if self.tapers == "observation_error" else add_weighed_increment
        update(self.heard(given, len(factors.left)), slab, factors, self.weights(given))

    def heard(self, given: SliceInput, n_obs: int) -> LocalizationPlan:
        """Return which observations the points of a slice may hear: what the first planned part says."""
        if self.planned:
            return LocalizationPlan.from_arrays(given.places)
        return plan_everywhere(given.where.size, n_obs)

    def weights(self, given: SliceInput) -> Weights:
        """Return what multiplies the weights of the plan, of a slice at a step."""
        weighings = [(each, _of(number, given.factors)) for number, each in enumerate(self.weighings)]
        weighings += [(each.weighing(), {}) for each in self.planned[1:]]
        n = given.where.size
        variable = given.places.get("variable", np.zeros(n, np.int64))
        places = _Places(given, variable, given.places.get("coordinates", np.full((n, 3), np.nan)))

        def weigh(points: IntArray, departures: FloatArray, obs: IntArray, unit: FloatArray) -> FloatArray:
            pairs = places.pairs(points, departures, obs, unit)
            product = np.ones((len(obs), len(points))).T
            for weighing, known in weighings:
                product *= weighing.weigh(pairs, known)
            return product

        return weigh

    def check(self) -> None:
        """Look whether every observation has what its weights depend on.

        Raises
        ------
        daflow.errors.DataError
            One has not; the message names it.
        """
        for each in self.planned:
            each.check()


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the numbers of a slice lie, to make pairs of some of them."""

    given: SliceInput
    variable: IntArray
    coordinates: FloatArray

    def pairs(self, points: IntArray, departures: FloatArray, obs: IntArray, unit: FloatArray) -> Pairs:
        numbers = self.given.where.start + points
        step, variable, at = self.given.step, self.variable[points], self.coordinates[points]
        return Pairs(step, numbers, departures, obs, unit, variable, at)


def _named(number: int, arrays: Arrays) -> dict[str, np.ndarray]:
    return {f"localization_{number}_{name}": array for name, array in arrays.items()}


def _of(number: int, arrays: Arrays) -> dict[str, np.ndarray]:
    prefix = f"localization_{number}_"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _add(total: dict[str, np.ndarray], more: Mapping[str, np.ndarray]) -> None:
    for name, array in more.items():
        total[name] = total[name] + array if name in total else array
