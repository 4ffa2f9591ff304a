"""How far observations reach: the section ``localization``, fitted to what was observed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from daflow.assemble.sections.kinds import inversion_of
from daflow.assemble.sections.weighings import weighing_of
from daflow.config.localization import (
    DistanceLocalization,
    DistanceWeights,
    LocalizationSettings,
    NoLocalization,
    PluginLocalization,
    ProductLocalization,
    ReachSettings,
    distances,
)
from daflow.config.localization_weights import CorrelationWeights, PluginWeights, SamplingErrorWeights
from daflow.config.observations import BlockError, DenseError, LowRankError
from daflow.config.schema import Workflow
from daflow.config.section import Section
from daflow.errors import CombinationError, DataError
from daflow.methods import DistanceLocality, Locality
from daflow.methods.locality import PlannedLocality
from daflow.methods.locality_by_function import FunctionLocality
from daflow.methods.locality_by_weights import WeighedLocality
from daflow.models.user_functions import accepted_keywords, load_function
from daflow.numerics.inversion.innovation import MOST_OBS_SQUARED
from daflow.numerics.inversion.inversions import INVERSIONS
from daflow.numerics.localization.distance import DistanceTaper, Rules
from daflow.ports import ObservationTable

ANSWERS = frozenset({"value", "error_std"})
"""Columns that do not say where an observation is, or of what."""


def locality_of(workflow: Workflow, table: ObservationTable) -> Locality | None:
    """Return how far each observation reaches; None: everywhere.

    Raises
    ------
    daflow.errors.DataError
        The localization names a kind of observation, or a column, that there is not.
    daflow.errors.CombinationError
        It does not go with the method's inversion, the observations' errors, or so few members.
    daflow.errors.ConfigError
        A function of the user's cannot be loaded, or not be called so.
    """
    settings = workflow.localization
    if isinstance(settings, NoLocalization):
        return None
    _refuse(workflow, len(table["name"]))
    if isinstance(settings, DistanceLocalization):
        return _by_distance(workflow, table, settings, "localization", obs_obs=settings.obs_obs == "same")
    if isinstance(settings, PluginLocalization):
        return _by_function(workflow, table, settings)
    parts = parts_of(settings)
    planned = _planned(workflow, table, obs_obs=settings.obs_obs == "same")
    found = (weighing_of(workflow, table, part) for part in parts)
    weighings = tuple(each for each in found if each is not None)
    return WeighedLocality(settings.tapers, weighings, tuple(planned), settings.obs_obs == "same")


def _planned(workflow: Workflow, table: ObservationTable, *, obs_obs: bool) -> Iterator[PlannedLocality]:
    """Yield the parts that know their weights from where points lie: those of distance first, as cells do."""
    for key, distance in distances(workflow.localization):
        yield _by_distance(workflow, table, distance, key, obs_obs=obs_obs)
    for part in parts_of(workflow.localization):
        if isinstance(part, PluginWeights):
            yield _by_function(workflow, table, part)


def _by_distance(
    workflow: Workflow, table: ObservationTable, part: DistanceWeights, key: str, *, obs_obs: bool
) -> DistanceLocality:
    kinds, codes = np.unique(np.asarray(table["kind"], dtype=str), return_inverse=True)
    for kind in part.observations:
        if kind not in kinds:
            raise DataError(
                f"{key}.observations.{kind}: there are no observations of that kind",
                got=kind,
                allowed=", ".join(kinds),
                do="name one of these kinds, or leave the entry out",
            )
    rules: Rules = {
        (variable, kind): taper_of(part, part.reach(name, str(kinds[kind])))
        for variable, name in enumerate(workflow.parameters)
        for kind in range(len(kinds))
    }
    points = np.stack([np.asarray(table[axis], dtype=np.float64) for axis in ("x", "y", "z")], axis=1)
    among = taper_of(part, ReachSettings(lengths=part.lengths, angle=part.angle)) if obs_obs else None
    tapers = getattr(workflow.localization, "tapers", "gain")
    return DistanceLocality(tapers, points, codes.astype(np.int64), rules, among)


def taper_of(part: DistanceWeights, reach: ReachSettings | None) -> DistanceTaper | None:
    """Return how weights fall where these lengths count; ``None`` where they do not fall."""
    if reach is None:
        return None
    lengths = (reach.lengths.get("x"), reach.lengths.get("y"), reach.lengths.get("z"))
    period = (part.period.get("x"), part.period.get("y"), part.period.get("z"))
    return DistanceTaper(part.family, lengths, reach.angle, part.cutoff, part.exponent, period)


def _by_function(workflow: Workflow, table: ObservationTable, part: PluginWeights) -> FunctionLocality:
    key = "localization.function"
    function = load_function(part.function, part.folder, key)
    accepted_keywords(function, positional=2, offered=(), asked=part.arguments, key=key)
    asked = {name: column for name, column in table.items() if name not in ANSWERS}
    variables = tuple((variable.name, variable.start) for variable in workflow.layout_variables())
    tapers = getattr(workflow.localization, "tapers", "gain")
    return FunctionLocality(tapers, partial(function, **part.arguments), part.function, asked, variables)


def parts_of(settings: LocalizationSettings) -> tuple[Section, ...]:
    """Return what multiplies in a localization: itself, or the parts of a product."""
    return settings.of if isinstance(settings, ProductLocalization) else (settings,)


def network_of(workflow: Workflow, table: ObservationTable) -> bytes:
    """Return what the localities of two tables of observations have in common if they are the same.

    A function of the user's may look at all that there is but what was observed.
    """
    whole = any(isinstance(part, PluginWeights) for part in parts_of(workflow.localization))
    own = {getattr(part, "belongs_to", "row") for part in parts_of(workflow.localization)}
    known = {"kind", "x", "y", "z", *own} if not whole else {*table} - ANSWERS
    columns = [np.asarray(table[name]) for name in sorted(known & {*table})]
    return b"|".join(
        [str(len(table["kind"])).encode(), *(str(column.tolist()).encode() for column in columns)]
    )


def locality_surveys(workflow: Workflow) -> bool:
    """Say whether the localization has to look at the whole prior before any slice is updated."""
    return any(
        (isinstance(part, SamplingErrorWeights) and part.family == "nice")
        or (isinstance(part, CorrelationWeights) and part.noise == "shuffled")
        for part in parts_of(workflow.localization)
    )


def _refuse(workflow: Workflow, n_obs: int) -> None:
    """Refuse what the method or the observations cannot do."""
    tapers = getattr(workflow.localization, "tapers", "gain")
    if inversion_of(workflow) == "subspace" and tapers == "cross_covariance":
        _refuse_subspace(n_obs, len(workflow.ensemble.members))
    if tapers == "observation_error":
        _refuse_what_is_not_local(workflow)
    if getattr(workflow.localization, "obs_obs", "none") == "same":
        _refuse_among(inversion_of(workflow) or "exact_cholesky", n_obs)


def _refuse_among(inversion: str, n_obs: int) -> None:
    why = INVERSIONS[inversion].refuses_obs_obs_taper
    if why:
        able = [name for name, one in INVERSIONS.items() if not one.refuses_obs_obs_taper]
        raise CombinationError(
            f"localization.obs_obs same and method.inversion {inversion} do not go together: {why}",
            got=f"method.inversion: {inversion}",
            allowed=f"method.inversion: {' | '.join(able)}, or localization.obs_obs: none",
            do="set method.inversion: exact_cholesky",
        )
    if n_obs > MOST_OBS_SQUARED:
        raise CombinationError(
            "localization.obs_obs same takes a matrix of observations by observations",
            got=f"{n_obs:,} observations",
            allowed=f"up to {MOST_OBS_SQUARED:,}, or localization.obs_obs: none",
            do="set localization.obs_obs: none",
        )


def _refuse_subspace(n_obs: int, n_members: int) -> None:
    if n_obs >= n_members:
        raise CombinationError(
            "method.inversion subspace projects out what a tapered cross-covariance needs",
            got=f"{n_obs} observations, {n_members} members",
            allowed="fewer observations than members, localization.tapers: gain, or another inversion",
            do="set method.inversion: subspace_rescaled",
        )


def _refuse_what_is_not_local(workflow: Workflow) -> None:
    inversion, error = inversion_of(workflow), workflow.observations.error
    if inversion not in (None, "exact_cholesky"):
        raise CombinationError(
            "localization.tapers observation_error has an inversion of its own, each number's",
            got=f"method.inversion: {inversion}",
            allowed="method.inversion: exact_cholesky, or localization.tapers: gain | cross_covariance",
            do="set method.inversion: exact_cholesky",
        )
    if isinstance(error, DenseError | BlockError | LowRankError):
        raise CombinationError(
            "localization.tapers observation_error weighs errors one by one, and these depend on each other",
            got=f"observations.error.kind: {error.kind}",
            allowed="observations.error.kind: diagonal, or localization.tapers: gain | cross_covariance",
            do="set localization.tapers: gain",
        )
