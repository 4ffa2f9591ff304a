"""Filters: one update with all observations, or with those of each cycle, fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np

from daflow.assemble.sections.cycles import cycles_of, observed_at
from daflow.assemble.sections.kinds import BY_DISTANCE, EVERY_LOCALIZATION, NO_LOCALIZATION, Kind
from daflow.assemble.sections.localities import locality_of, network_of, taper_of
from daflow.assemble.sections.shrinkage import check_shrinkage, shrinkage_filter
from daflow.config.filters import (
    EnkfNSettings,
    EnkfSettings,
    EtkfSettings,
    GainInflatedEnkfSettings,
    IenksSettings,
)
from daflow.config.inflation import (
    AdditiveInflation,
    MultiplicativeInflation,
    acts_before,
    inflations_of,
)
from daflow.config.localization import DistanceLocalization, NoLocalization, for_kinds
from daflow.config.observations import BlockError, DenseError, LowRankError
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.methods.filters_global import (
    FiniteSizeAnalysis,
    RandomRotation,
    SerialAnalysis,
    TransformFilter,
    etkf_analysis,
    not_rotated,
)
from daflow.methods.filters_iterated import IterativeKalmanSmoother
from daflow.methods.filters_local import LocalSerialFilter, LocalTransformFilter, Network
from daflow.methods.filters_networks import Networks
from daflow.methods.filters_perturbed import Halfway, Perturbed, PerturbedFilter
from daflow.methods.filters_weighed import WeighedTransformFilter
from daflow.methods.locality import Locality
from daflow.methods.locality_by_weights import WeighedLocality
from daflow.methods.observed import Observed
from daflow.numerics.filters.finite_size import jeffreys, mode_corrected
from daflow.numerics.inversion.updates import InversionSettings
from daflow.numerics.localization.distance import DistanceTaper, Rules
from daflow.ports import Method, Observations, ObservationTable


@dataclass(frozen=True, slots=True)
class _Steps:
    """What is observed at each step of a filter, and from where."""

    observed: Callable[[int], Observed]
    tables: tuple[ObservationTable, ...]
    """One a step."""

    def __len__(self) -> int:
        return len(self.tables)

    def networks(self, workflow: Workflow) -> Networks | None:
        """Return how far observations reach; None: everywhere."""
        return None if isinstance(workflow.localization, NoLocalization) else self.localities(workflow)

    def localities(self, workflow: Workflow) -> Networks:
        """Return how far the observations of each step reach: steps with the same ones share a locality."""
        found: dict[bytes, int] = {}
        localities: list[Locality] = []
        for table in self.tables:
            key = network_of(workflow, table)
            if key not in found:
                found[key] = len(localities)
                locality = locality_of(_with_kinds_of(workflow, table), table)
                localities += [] if locality is None else [locality]
        return Networks(tuple(localities), tuple(found[network_of(workflow, table)] for table in self.tables))


def _steps(workflow: Workflow, observations: Observations) -> _Steps:
    table, numbers = observations.table, observations.numbers
    told = observed_at(workflow, observations)
    cycles = cycles_of(workflow, table)
    if not cycles:
        return _Steps(lambda step: replace(told(step), numbers=numbers), (table,))
    rows = [slice(cycle.first, cycle.last) for cycle in cycles]

    def observed(step: int) -> Observed:
        return replace(told(step), numbers=None if numbers is None else numbers[rows[step]])

    tables = tuple({name: column[row] for name, column in table.items()} for row in rows)
    return _Steps(observed, tables)


def _with_kinds_of(workflow: Workflow, table: ObservationTable) -> Workflow:
    """Return the workflow without what its localization says of kinds that are not observed here."""
    if workflow.cycling is None:
        return workflow
    here = set(np.unique(np.asarray(table["kind"], dtype=str)).tolist())
    return workflow.model_copy(update={"localization": for_kinds(workflow.localization, here)})


def _enkf(workflow: Workflow, observations: Observations) -> Method:
    return _perturbing(workflow, observations, None)


def _gain_inflated_enkf(workflow: Workflow, observations: Observations) -> Method:
    return _perturbing(workflow, observations, _zeta(workflow))


def _zeta(workflow: Workflow) -> float:
    return cast("GainInflatedEnkfSettings", workflow.method).zeta


def _perturbing(workflow: Workflow, observations: Observations, zeta: float | None) -> Method:
    method = cast("EnkfSettings | GainInflatedEnkfSettings", workflow.method)
    steps = _steps(workflow, observations)
    return PerturbedFilter(
        steps.observed,
        len(steps),
        Perturbed(workflow.seed, method.perturbations),
        InversionSettings(1 / (1 + (zeta or 0.0)), method.inversion, method.truncation),
        steps.networks(workflow),
        {} if zeta is None else {"zeta": zeta},
    )


def _denkf(workflow: Workflow, observations: Observations) -> Method:
    steps = _steps(workflow, observations)
    return PerturbedFilter(steps.observed, len(steps), Halfway(), networks=steps.networks(workflow))


def _etkf(workflow: Workflow, observations: Observations) -> Method:
    method, steps = cast("EtkfSettings", workflow.method), _steps(workflow, observations)
    rotate = RandomRotation(workflow.seed) if method.rotation == "random" else not_rotated
    return TransformFilter(steps.observed, len(steps), etkf_analysis, rotate)


def _enkf_n(workflow: Workflow, observations: Observations) -> Method:
    method, steps = cast("EnkfNSettings", workflow.method), _steps(workflow, observations)
    hyperprior = jeffreys if method.hyperprior == "jeffreys" else mode_corrected(method.certainty)
    return TransformFilter(steps.observed, len(steps), FiniteSizeAnalysis(hyperprior, method.root))


def _ienks(workflow: Workflow, observations: Observations) -> Method:
    method, steps = cast("IenksSettings", workflow.method), _steps(workflow, observations)
    rotate = RandomRotation(workflow.seed) if method.rotation == "random" else not_rotated
    return IterativeKalmanSmoother(steps.observed, len(steps), method.iterations, rotate)


def _check_ienks(workflow: Workflow) -> None:
    """See that what else is asked goes with forecasting a cycle again."""
    observed, wanted = workflow.observations, []
    if workflow.cycling is None:
        wanted.append(("cycling: null", "a section cycling"))
    if any(acts_before(one) or not isinstance(one, _WIDENING) for one in inflations_of(workflow.inflation)):
        wanted.append(
            ("inflation of another kind", "inflation.kind: multiplicative with on: posterior, or additive")
        )
    if observed.background_check or observed.outliers or observed.super_obs:
        wanted.append(("checks or super-observations", "observations as they are"))
    if workflow.policy.missing_predictions != "invalid":
        wanted.append((f"policy.missing_predictions: {workflow.policy.missing_predictions}", "invalid"))
    if wanted:
        got, allowed = zip(*wanted, strict=True)
        raise CombinationError(
            "method.kind ienks forecasts each cycle several times, with the same observations and members",
            got="; ".join(got),
            allowed="; ".join(allowed),
            do="change these, or choose method.kind: etkf",
        )


def _serial(workflow: Workflow, observations: Observations) -> Method:
    scheme, steps = workflow.method.kind, _steps(workflow, observations)
    networks = steps.networks(workflow)
    if networks is None:
        return TransformFilter(steps.observed, len(steps), SerialAnalysis(scheme))
    settings = _by_distance(workflow)
    if settings.obs_obs != "none":
        raise CombinationError(
            f"method.kind {scheme} always tapers observations among themselves, each by its own lengths",
            got=f"localization.obs_obs: {settings.obs_obs}",
            allowed="localization.obs_obs: none",
            do="leave localization.obs_obs out: it is for methods that invert a covariance of predictions",
        )
    among = []
    for number in range(len(networks.localities)):
        table = steps.tables[networks.of_step.index(number)]
        kinds, codes = np.unique(np.asarray(table["kind"], dtype=str), return_inverse=True)
        points = np.stack([np.asarray(table[axis], dtype=np.float64) for axis in ("x", "y", "z")], axis=1)
        rules = _rules_among(settings, tuple(kinds.tolist()))
        among.append(Network(points, codes.astype(np.int64), rules))
    return LocalSerialFilter(steps.observed, len(steps), networks, scheme, tuple(among))


def _letkf(workflow: Workflow, observations: Observations) -> Method:
    steps = _steps(workflow, observations)
    networks = steps.localities(workflow)
    found = any(isinstance(each, WeighedLocality) for each in networks.localities)
    make = WeighedTransformFilter if found else LocalTransformFilter
    return make(steps.observed, len(steps), networks)


def _shrinkage(workflow: Workflow, observations: Observations) -> Method:
    check_shrinkage(workflow)
    steps = _steps(workflow, observations)
    return shrinkage_filter(workflow, steps.observed, steps.tables, steps.networks(workflow))


def _by_distance(workflow: Workflow) -> DistanceLocalization:
    """Return the localization of a filter that goes by distance only.

    Raises
    ------
    daflow.errors.CombinationError
        It is another one, or errors depend on each other.
    """
    kind, settings, error = workflow.method.kind, workflow.localization, workflow.observations.error
    if not isinstance(settings, DistanceLocalization):
        raise CombinationError(
            f"method.kind {kind} is localized by distance only",
            got=f"localization.kind: {settings.kind}",
            allowed="localization.kind: distance",
            do="set localization.kind: distance, or method.kind: enkf",
        )
    if isinstance(error, DenseError | BlockError | LowRankError):
        raise CombinationError(
            f"method.kind {kind} with a localization takes errors one by one, and these depend on each other",
            got=f"observations.error.kind: {error.kind}",
            allowed="observations.error.kind: diagonal",
            do="set method.kind: enkf with localization.tapers: gain",
        )
    return settings


def _rules_among(settings: DistanceLocalization, kinds: tuple[str, ...]) -> Rules:
    """Return how far each kind of observation reaches among the others: those hear as any variable does."""
    rules: dict[tuple[int, int], DistanceTaper | None] = {}
    for speaker, kind in enumerate(kinds):
        taper = taper_of(settings, settings.reach("", kind))
        rules |= {(speaker, hearer): taper for hearer in range(len(kinds))}
    return rules


def _one(workflow: Workflow) -> int:  # noqa: ARG001 - whatever the workflow says
    """Return how many updates a filter makes where there are no cycles, which know themselves."""
    return 1


_LOCAL: Final = frozenset({"observation_error"})
_WIDENING: Final = (MultiplicativeInflation, AdditiveInflation)
"""What may widen the members at the end of a cycle: it does not ask how they were before the update."""
_SERIAL: Final = frozenset({"none", "cross_covariance"})

FILTERS: Final[Mapping[str, Kind]] = {
    "enkf": Kind(_enkf, _one, localizations=EVERY_LOCALIZATION, one_transform=True),
    "gain_inflated_enkf": Kind(
        _gain_inflated_enkf,
        _one,
        localizations=EVERY_LOCALIZATION,
        about=lambda workflow: f"zeta {_zeta(workflow):g}",
        one_transform=True,
    ),
    "denkf": Kind(_denkf, _one, localizations=EVERY_LOCALIZATION, one_transform=True),
    "etkf": Kind(_etkf, _one, one_transform=True),
    "ensrf": Kind(_serial, _one, localizations=_SERIAL, weights=BY_DISTANCE, one_transform=True),
    "eakf": Kind(_serial, _one, localizations=_SERIAL, weights=BY_DISTANCE, one_transform=True),
    "letkf": Kind(_letkf, _one, localizations=_LOCAL),
    "enkf_n": Kind(_enkf_n, _one, one_transform=True),
    "ienks": Kind(_ienks, _one, check=_check_ienks),
    "shrinkage_etkf": Kind(
        _shrinkage,
        _one,
        surveys=lambda _: True,
        localizations=_LOCAL | NO_LOCALIZATION,
        weights=BY_DISTANCE,
        check=check_shrinkage,
    ),
}
"""Kind of filter -> what a run has to know of it."""
