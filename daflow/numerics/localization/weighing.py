"""Weights of pairs of numbers and observations that are found when a slice is updated, a block at a time.

What weighs by index or by sample correlation knows its weights only then; nothing of size state x
observations is formed. Each way is a `Weighing`. What has to be known of all slices first, a noise floor or a
norm, comes from surveys: sums over blocks, which slices add up in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.localization.correlation_tapers import (
    ShuffledSquares,
    exponential_weights,
    shuffled_noise,
    tempered_weights,
    theoretical_noise,
    threshold_weights,
    unit_anomalies,
)
from daflow.numerics.localization.distance import IntArray, Rules, taper_by_kind
from daflow.numerics.localization.index_tapers import delta_weights, dropout_weights, radial_weights
from daflow.numerics.localization.nice_correction import (
    NiceChoice,
    NiceSurvey,
    choose_nice,
    nice_weights,
    survey_norms,
)
from daflow.numerics.localization.pair_draws import pair_uniforms, shuffled_order
from daflow.numerics.localization.sampling_error import fisher_weights, power_weights

Found = Mapping[str, NDArray[Any]]
"""Named arrays: sums that surveys found, or what these came to."""
NOTHING: Final[Found] = {}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Some numbers of the state and some observations, each with each."""

    step: int
    numbers: IntArray
    """(p,) the numbers' places along the state."""
    departures: FloatArray
    """(n_members, p) each member's departures from any one of them."""
    obs: IntArray
    """(q,) the observations."""
    predicted: FloatArray
    """(q, n_members) unit anomalies of their predictions, by
    `daflow.numerics.localization.correlation_tapers.unit_anomalies`."""
    variable: IntArray
    """(p,) the codes of the numbers' variables."""
    coordinates: FloatArray
    """(p, 3) x, y, z; NaN along axes that do not count."""

    @property
    def n_members(self) -> int:
        """How many members."""
        return len(self.departures)

    @cached_property
    def state(self) -> FloatArray:
        """(n_members, p) unit anomalies of the numbers."""
        return unit_anomalies(self.departures)

    @cached_property
    def correlation(self) -> FloatArray:
        """(p, q) sample correlations, 0 where members agree."""
        product = self.predicted @ self.state
        return np.clip(product, -1.0, 1.0, out=product).T


Weigh = Callable[[Pairs, Found], FloatArray]
"""Weights in [0, 1] (p, q), from pairs and what the surveys came to."""


@dataclass(frozen=True, slots=True, eq=False)
class Weighing:
    """One way to weigh pairs."""

    weigh: Weigh
    survey: Callable[[Pairs], Found] | None = None
    """Sums over pairs, by name; ``None``: nothing has to be known of all slices."""
    conclude: Callable[[Found], Found] | None = None
    """What the sums over all pairs come to."""
    among: Callable[[Pairs], FloatArray] | None = None
    """The weights of observations among themselves; ``None``: it has none."""
    why_none_among: str = ""
    """The reason for that."""


def by_delta(belongs: IntArray) -> Weighing:
    """Let an observation reach the number of the state that it belongs to (n_obs,), and no other."""

    def weigh(pairs: Pairs, _: Found) -> FloatArray:
        return delta_weights(pairs.numbers, belongs[pairs.obs])

    return Weighing(weigh, among=lambda pairs: delta_weights(belongs[pairs.obs], belongs[pairs.obs]))


def by_radius(belongs: IntArray, length: float) -> Weighing:
    """Let weights fall with the distance of indices as a Gaussian does; length in steps of the index."""

    def weigh(pairs: Pairs, _: Found) -> FloatArray:
        return radial_weights(pairs.numbers, belongs[pairs.obs], length)

    return Weighing(weigh, among=lambda pairs: radial_weights(belongs[pairs.obs], belongs[pairs.obs], length))


def by_dropout(shape: tuple[int, int], keep: float, seed: int) -> Weighing:
    """Keep pairs by chance, anew at each step; shape (n_state, n_obs)."""

    def weigh(pairs: Pairs, _: Found) -> FloatArray:
        def uniforms(places: IntArray) -> FloatArray:
            return pair_uniforms(seed, pairs.step, places)

        return dropout_weights(pairs.numbers, pairs.obs, shape, keep, uniforms)

    why = "what is left of a covariance by chance is not positive semidefinite"
    return Weighing(weigh, why_none_among=why)


def by_power(power: float, cutoff: float = 0.0) -> Weighing:
    """Weigh by a power of the correlation's size."""
    return _by_correlation(lambda pairs: power_weights(pairs.correlation, power, cutoff))


def by_fisher() -> Weighing:
    """Weigh by a correlation's ratio to its sampling error."""
    return _by_correlation(lambda pairs: fisher_weights(pairs.correlation, pairs.n_members))


def by_exponential(onset: float, end: float, factor: float) -> Weighing:
    """Weigh precisions: errors grow as correlations weaken."""

    def weigh(pairs: Pairs, _: Found) -> FloatArray:
        return exponential_weights(pairs.correlation, onset=onset, end=end, factor=factor)

    return Weighing(weigh, why_none_among="it weighs errors of observations, not covariances")


def _by_correlation(weights: Callable[[Pairs], FloatArray]) -> Weighing:
    return Weighing(lambda pairs, _: weights(pairs), among=weights)


Noise = float | str
"""A correlation's noise level: a number, ``theory`` or ``shuffled``."""


def by_threshold(noise: Noise, seed: int) -> Weighing:
    """Keep correlations that exceed the noise."""
    return _by_noise(threshold_weights, noise, seed)


def by_tempering(noise: Noise, seed: int) -> Weighing:
    """Weigh by how far a correlation is from perfect, in units of the room above the noise."""
    return _by_noise(tempered_weights, noise, seed)


def _by_noise(weights: Callable[[FloatArray, Any], FloatArray], noise: Noise, seed: int) -> Weighing:
    if noise == "shuffled":
        return _by_shuffling(weights, seed)

    def level(pairs: Pairs) -> float:
        return theoretical_noise(pairs.n_members) if noise == "theory" else float(noise)

    return _by_correlation(lambda pairs: weights(pairs.correlation, level(pairs)))


def _by_shuffling(weights: Callable[[FloatArray, Any], FloatArray], seed: int) -> Weighing:
    def survey(pairs: Pairs) -> Found:
        order = shuffled_order(seed, pairs.step, pairs.n_members)
        squares = np.square(pairs.predicted[:, order] @ pairs.state).sum(axis=1)
        return {"squares": squares, "n_state": np.array(len(pairs.numbers))}

    def conclude(total: Found) -> Found:
        noise = shuffled_noise(ShuffledSquares(total["squares"], int(total["n_state"])))
        return {"noise": noise, "noise_mean": np.array(noise.mean())}

    return Weighing(
        lambda pairs, found: weights(pairs.correlation, found["noise"][pairs.obs]),
        survey,
        conclude,
        why_none_among="its noise level is that of numbers of the state: give noise: theory, or a number",
    )


def by_nice(tolerance: float, std: str, obs_tolerance: float | None = None) -> Weighing:
    """Correct correlations as much as chance accounts for; observations among themselves on their own."""

    def survey(pairs: Pairs) -> Found:
        norms = survey_norms(pairs.correlation, pairs.n_members, std=std)
        return {"sampling": np.array(norms.noise), "products": norms.products}

    def conclude(total: Found) -> Found:
        choice = choose_nice(NiceSurvey(float(total["sampling"]), total["products"]), tolerance)
        return {"exponent": np.array(choice.exponent), "mix": np.array(choice.weight)}

    def weigh(pairs: Pairs, found: Found) -> FloatArray:
        choice = NiceChoice(int(found["exponent"]), float(found["mix"]))
        return nice_weights(pairs.correlation, choice)

    def among(pairs: Pairs) -> FloatArray:
        norms = survey_norms(pairs.correlation, pairs.n_members, std=std)
        own = tolerance if obs_tolerance is None else obs_tolerance
        return nice_weights(pairs.correlation, choose_nice(norms, own))

    return Weighing(weigh, survey, conclude, among)


def by_distance(
    obs_points: FloatArray, kind_codes: IntArray, rules: Rules, among: Callable[[], FloatArray] | None = None
) -> Weighing:
    """Weigh by distance, as `daflow.numerics.localization.distance.taper_by_kind` has it."""

    def weigh(pairs: Pairs, _: Found) -> FloatArray:
        places = (pairs.coordinates, pairs.variable, obs_points[pairs.obs], kind_codes[pairs.obs])
        weights: FloatArray = taper_by_kind(*places, rules).toarray()
        return weights

    why = "kinds of observations have lengths of their own"
    if among is None:
        return Weighing(weigh, why_none_among=why)
    return Weighing(weigh, among=lambda _: among())
