"""The section ``inflation``, fitted to what was observed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.assemble.sections.cycles import cycles_of, n_repeats, observed_at
from daflow.assemble.sections.kinds import Kind
from daflow.assemble.sections.localities import locality_of
from daflow.config.inflation import (
    AdaptiveInflation,
    AdditiveInflation,
    MultiplicativeInflation,
    RelaxationInflation,
    SpatialInflation,
    acts_before,
    inflations_of,
)
from daflow.config.localization import DistanceLocalization, NoLocalization
from daflow.config.observations import BlockError, DenseError, LowRankError
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.methods import DistanceLocality
from daflow.methods.inflated import AtSomeSteps, OfPosterior, OfPrior, inflated_method
from daflow.methods.inflations import (
    AdaptivePrior,
    MultipliedPosterior,
    MultipliedPrior,
    Noise,
    RelaxedToPerturbations,
    RelaxedToSpread,
)
from daflow.methods.observed import Observed
from daflow.methods.spatial_inflation import SeenSpatially, SpatialPrior
from daflow.numerics.inflation.adaptive import InflationEstimate
from daflow.numerics.localization.distance import Rules, taper_by_kind
from daflow.ports import Method, Observations, ObservationTable


def inflated(workflow: Workflow, method: Method, observations: Observations) -> Method:
    """Return the method with the inflations of the workflow; itself where there are none.

    Raises
    ------
    daflow.errors.InputError
        The observations cannot be used.
    """
    many = inflations_of(workflow.inflation)
    if not many:
        return method
    before = [_PRIOR[type(one)](one, workflow, observations) for one in many if acts_before(one)]
    after = tuple(_POSTERIOR[type(one)](one, workflow) for one in many if not acts_before(one))
    if n_repeats(workflow):
        cycles = cycles_of(workflow, observations.table)
        after = tuple(AtSomeSteps(each, lambda step: cycles[step].goes_on) for each in after)
    return inflated_method(method, before[0] if before else None, after)


def check_inflation(kind: Kind, workflow: Workflow) -> None:
    """See that the inflations go with the other sections, before anything is observed.

    Parameters
    ----------
    kind
        That of the method.
    workflow
        The workflow.

    Raises
    ------
    daflow.errors.CombinationError
        They do not.
    """
    many = inflations_of(workflow.inflation)
    if many and kind.starts_from_prior:
        raise CombinationError(
            f"method.kind {workflow.method.kind} starts each update from the prior, which nothing may widen",
            got=f"inflation: {', '.join(one.kind for one in many)}",
            allowed="inflation: none, or a method whose update starts from what was forecast last",
            do="leave out the section inflation, or choose es_mda or eki",
        )
    if many and getattr(workflow.method, "acceleration", "none") != "none":
        raise CombinationError(
            "method.acceleration takes what an inflation adds for motion, and adds to it",
            got=f"inflation: {', '.join(one.kind for one in many)}",
            allowed="inflation: none, or method.acceleration: none",
            do="leave out one of them",
        )
    for one in many:
        if isinstance(one, AdaptiveInflation | SpatialInflation):
            _see_that_observations_are_new(one, workflow, kind.n_steps(workflow))
        if isinstance(one, SpatialInflation):
            _see_that_places_tell(workflow)


def inflations_told(workflow: Workflow) -> str:
    """Return in a line which inflations there are; empty where there are none."""
    return ", ".join(
        f"{one.kind} of the {'prior' if acts_before(one) else 'posterior'}"
        for one in inflations_of(workflow.inflation)
    )


def _see_that_observations_are_new(
    one: AdaptiveInflation | SpatialInflation, workflow: Workflow, n_steps: int
) -> None:
    if workflow.cycling is None and n_steps > 1:
        raise CombinationError(
            f"inflation.kind {one.kind} compares forecasts with observations that they do not know yet",
            got=f"method.kind: {workflow.method.kind}, which uses the same observations at every step",
            allowed="a filter with the section cycling; for adaptive also a method of one step",
            do="add the section cycling, or choose inflation.kind: multiplicative | relaxation",
        )
    if isinstance(one, SpatialInflation) and workflow.cycling is None:
        raise CombinationError(
            "inflation.kind spatial learns from each step for the next, and there is only one",
            got="no section cycling",
            allowed="a filter with the section cycling",
            do="add the section cycling, or choose inflation.kind: adaptive | multiplicative",
        )


def _see_that_places_tell(workflow: Workflow) -> None:
    error = getattr(workflow.observations, "error", None)
    if isinstance(error, DenseError | BlockError | LowRankError):
        raise CombinationError(
            "inflation.kind spatial takes observations one by one, and these errors depend on each other",
            got=f"observations.error.kind: {error.kind}",
            allowed="observations.error.kind: diagonal, or another inflation.kind",
            do="choose inflation.kind: adaptive",
        )
    if not isinstance(workflow.localization, NoLocalization | DistanceLocalization):
        raise CombinationError(
            "inflation.kind spatial needs weights that are known before the step",
            got=f"localization.kind: {workflow.localization.kind}",
            allowed="localization.kind: none | distance, or another inflation.kind",
            do="choose inflation.kind: adaptive, or localization.kind: distance",
        )


def _multiplied_prior(one: MultiplicativeInflation, *_: object) -> OfPrior:
    return MultipliedPrior(_of_anomalies(one))


def _multiplied_posterior(one: MultiplicativeInflation, _: Workflow) -> OfPosterior:
    return MultipliedPosterior(_of_anomalies(one))


def _of_anomalies(one: MultiplicativeInflation) -> float:
    return one.factor if one.of == "anomalies" else sqrt(one.factor)


def _adaptive(one: AdaptiveInflation, workflow: Workflow, observations: Observations) -> OfPrior:
    def observed(step: int) -> Observed:
        # Only a step's one task of preparation asks; made beforehand, all others would wait for it.
        return observed_at(workflow, observations)(step)

    known = InflationEstimate(one.initial, one.std**2)
    return AdaptivePrior(observed, known, one.forgetting, one.lower, one.upper)


def _spatial(one: SpatialInflation, workflow: Workflow, observations: Observations) -> OfPrior:
    seen = _seen_at(workflow, observations)
    deviations, bounds = (one.least_std, one.std), (one.lower, one.upper)
    return SpatialPrior(seen, one.density, one.initial, deviations, bounds, one.damping)


def _relaxed(one: RelaxationInflation, _: Workflow) -> OfPosterior:
    kind = RelaxedToSpread if one.to == "prior_spread" else RelaxedToPerturbations
    return kind(one.strength)


def _noise(one: AdditiveInflation, workflow: Workflow) -> OfPosterior:
    variables = workflow.layout_variables()
    return Noise(
        tuple((v.start, v.stop, one.std[v.name]) for v in variables if v.name in one.std), workflow.seed
    )


_PRIOR: Final[Mapping[type, Callable[[Any, Workflow, Observations], OfPrior]]] = {
    MultiplicativeInflation: _multiplied_prior,
    AdaptiveInflation: _adaptive,
    SpatialInflation: _spatial,
}
_POSTERIOR: Final[Mapping[type, Callable[[Any, Workflow], OfPosterior]]] = {
    MultiplicativeInflation: _multiplied_posterior,
    RelaxationInflation: _relaxed,
    AdditiveInflation: _noise,
}


def _seen_at(workflow: Workflow, observations: Observations) -> Callable[[int], SeenSpatially]:
    """Return what tells the observations of a step, their places, and how far each reaches."""
    table = observations.table
    values = np.asarray(table["value"], dtype=np.float64)
    variances = np.asarray(table["error_std"], dtype=np.float64) ** 2
    rows = [slice(cycle.first, cycle.last) for cycle in cycles_of(workflow, table)]
    rows = rows or [slice(0, len(values))]
    keys, locality = _keys(table), locality_of(workflow, table)

    # A worker does all slices of a step before any of the next.
    @lru_cache(maxsize=2)
    def seen(step: int) -> SeenSpatially:
        where = rows[step]
        places = _places(keys[where])
        if not isinstance(locality, DistanceLocality):
            return SeenSpatially(values[where], variances[where], places)
        obs_points, kinds, rules = locality.obs_points[where], locality.kind_codes[where], locality.rules
        own = _rules_among(rules)
        return SeenSpatially(
            values[where],
            variances[where],
            places,
            lambda points: taper_by_kind(points.coordinates, points.variable, obs_points, kinds, rules),
            lambda some: taper_by_kind(obs_points[some], 0, obs_points, kinds, own),
        )

    return seen


def _rules_among(rules: Rules) -> Rules:
    """Return the reach of each kind of observation among predictions.

    It is that for the first variable that has one.
    """
    kinds = sorted({kind for _, kind in rules})
    return {
        (0, kind): next((rules[key] for key in sorted(rules) if key[1] == kind and rules[key]), None)
        for kind in kinds
    }


def _keys(table: ObservationTable) -> list[str]:
    """Return what tells observations apart whenever they are made: kind, and place or else name."""
    points = np.stack([np.asarray(table[axis], dtype=np.float64) for axis in ("x", "y", "z")], axis=1)
    placed = np.asarray(np.isfinite(points).any(axis=1)).tolist()
    rows = zip(table["kind"], table["name"], placed, points.tolist(), strict=True)
    return [
        f"{kind} at {' '.join(f'{number:.12g}' for number in point)}" if there else f"{kind} of {name}"
        for kind, name, there, point in rows
    ]


def _places(keys: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each observation of a step: the same at another step, whatever else is observed.

    What is observed several times is told apart by its turn.
    """
    turns: Counter[str] = Counter()
    numbers = []
    for key in keys:
        turns[key] += 1
        number = blake2b(f"{key} {turns[key]}".encode(), digest_size=8).digest()
        numbers.append(int.from_bytes(number) >> 1)
    return np.array(numbers, dtype=np.int64)
