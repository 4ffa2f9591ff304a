"""Smoothers and inversions: what iterates over all observations, fitted to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np

from daflow.assemble.sections.kinds import EVERY_LOCALIZATION, Kind
from daflow.assemble.sections.localities import locality_of, locality_surveys
from daflow.config.methods import (
    EkiSettings,
    EnrmlSettings,
    EsMdaSettings,
    EsSettings,
    EtkiSettings,
    GeometricAlphas,
    IesSettings,
    RestrictedAlphas,
)
from daflow.config.parameters import NormalScoreTransform
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.inputs.observations import covariance_of
from daflow.methods import (
    AcceleratedEki,
    DiscrepancyEsMda,
    Eki,
    EsMda,
    Etki,
    GaussNewton,
    IterativeSmoother,
    LevenbergMarquardt,
    PerturbedUpdate,
    RestrictedEsMda,
    SmallStateSmoother,
)
from daflow.methods.iterative_smoothers import WeightScheme
from daflow.methods.kalman_inversion import plain_targets, raw_targets
from daflow.methods.restricted_es_mda import both_look_first
from daflow.methods.step_lengths import DiscrepancyLengths, GivenLengths, StepLengths
from daflow.numerics.observations.perturbations import Perturbations
from daflow.numerics.smoothers import schedules
from daflow.ports import Method, Observations


def alphas_of(method: EsMdaSettings) -> tuple[float, ...]:
    """Return the alphas of a method that knows them beforehand, one a step."""
    if method.alphas == "constant":
        alphas = schedules.constant_alphas(method.steps)
    elif isinstance(method.alphas, GeometricAlphas):
        alphas = schedules.geometric_alphas(method.steps, method.alphas.ratio)
    else:
        alphas = schedules.given_alphas(cast("tuple[float, ...]", method.alphas), normalise=method.normalise)
    return tuple(float(alpha) for alpha in alphas)


def source_of(workflow: Workflow, observations: Observations) -> Perturbations:
    """Return what was observed, R, and the random numbers that perturb."""
    values = np.asarray(observations.table["value"], dtype=np.float64)
    return Perturbations(values, covariance_of(observations), workflow.seed, observations.numbers)


def update_of(workflow: Workflow, observations: Observations) -> PerturbedUpdate:
    """Return how an update with perturbed observations is made."""
    settings = cast("EsMdaSettings | EsSettings | EkiSettings", workflow.method)
    locality = locality_of(workflow, observations.table)
    source = source_of(workflow, observations)
    return PerturbedUpdate(source, settings.inversion, settings.truncation, locality)


def _es(workflow: Workflow, observations: Observations) -> Method:
    return _es_mda_of((1.0,), update_of(workflow, observations))


def _es_mda(workflow: Workflow, observations: Observations) -> Method:
    settings, update = cast("EsMdaSettings", workflow.method), update_of(workflow, observations)
    if settings.alphas == "discrepancy":
        return DiscrepancyEsMda(DiscrepancyLengths(settings.steps), update)
    if isinstance(settings.alphas, RestrictedAlphas):
        restricted = settings.alphas.restricted
        return RestrictedEsMda(settings.steps, update, restricted.largest_move, restricted.trials)
    return _es_mda_of(alphas_of(settings), update)


def _es_mda_of(alphas: tuple[float, ...], update: PerturbedUpdate) -> EsMda:
    source = update.source
    how = (update.inversion, update.truncation, update.locality)
    return EsMda(alphas, source.values, source.obs_error, source.seed, *how, source.numbers)


def _lengths_of(settings: EkiSettings | EtkiSettings) -> StepLengths:
    if settings.time_step == "discrepancy":
        return DiscrepancyLengths(settings.steps)
    return GivenLengths((1.0 / settings.time_step,) * settings.steps)


def _eki(workflow: Workflow, observations: Observations) -> Method:
    settings = cast("EkiSettings", workflow.method)
    targets = raw_targets if settings.perturbed == "raw" else plain_targets
    plain = Eki(_lengths_of(settings), update_of(workflow, observations), targets)
    return AcceleratedEki(plain) if settings.acceleration == "nesterov" else plain


def _etki(workflow: Workflow, observations: Observations) -> Method:
    settings = cast("EtkiSettings", workflow.method)
    return Etki(_lengths_of(settings), source_of(workflow, observations))


def _ies(workflow: Workflow, observations: Observations) -> Method:
    settings = cast("IesSettings", workflow.method)
    lengths = tuple(settings.length(step) for step in range(settings.steps))
    return _iterated(workflow, GaussNewton(lengths), source_of(workflow, observations))


def _enrml(workflow: Workflow, observations: Observations) -> Method:
    settings, source = cast("EnrmlSettings", workflow.method), source_of(workflow, observations)
    first = None if settings.damping == "auto" else settings.damping
    n_obs = source.obs_error.n_obs
    scheme = LevenbergMarquardt(settings.steps, n_obs, first, settings.factor, settings.tolerance)
    return _iterated(workflow, scheme, source)


def _iterated(workflow: Workflow, scheme: WeightScheme, source: Perturbations) -> Method:
    return (SmallStateSmoother if _is_small(workflow) else IterativeSmoother)(scheme, source)


def _is_small(workflow: Workflow) -> bool:
    """Say whether a member has fewer numbers than there are directions in which members can differ."""
    return workflow.layout_variables()[-1].stop < len(workflow.ensemble.members) - 1


def _n_steps(workflow: Workflow) -> int:
    return int(getattr(workflow.method, "steps", 1))


def _restricts(workflow: Workflow) -> bool:
    settings = workflow.method
    return isinstance(settings, EsMdaSettings) and isinstance(settings.alphas, RestrictedAlphas)


def _searches(workflow: Workflow) -> bool:
    settings = workflow.method
    if isinstance(settings, EsMdaSettings):
        return settings.searched
    return isinstance(settings, EkiSettings | EtkiSettings) and settings.time_step == "discrepancy"


def _tolerates(workflow: Workflow) -> bool:
    return isinstance(workflow.method, EnrmlSettings) and workflow.method.tolerance > 0


def _check_restriction(workflow: Workflow) -> None:
    if not _restricts(workflow):
        return
    if locality_surveys(workflow):
        raise both_look_first()
    _see_that_spaces_stay(workflow, "method.alphas: {restricted: ...}", "method.alphas: discrepancy")


def _check_acceleration(workflow: Workflow) -> None:
    if cast("EkiSettings", workflow.method).acceleration == "nesterov":
        _see_that_spaces_stay(workflow, "method.acceleration: nesterov", "method.acceleration: none")


def _see_that_spaces_stay(workflow: Workflow, what: str, cure: str) -> None:
    """Refuse transforms that are fitted to each step's ensemble where one step's numbers meet another's."""
    for name, parameter in workflow.parameters.items():
        if isinstance(parameter.transform, NormalScoreTransform):
            raise CombinationError(
                f"{what} compares numbers of several steps; normal_score makes new ones of them at each",
                got=f"parameters.{name}.transform: normal_score",
                allowed=f"transforms that stay the same (log, logit), or {cure}",
                do=f"set {cure}",
            )


def _about_alphas(workflow: Workflow) -> str:
    if not _searches(workflow):
        return ""
    return "restricted steps" if _restricts(workflow) else "steps by discrepancy"


def _about_eki(workflow: Workflow) -> str:
    settings = cast("EkiSettings", workflow.method)
    about = [_about_alphas(workflow) or f"time step {settings.time_step:g}"]
    about += ["observations not perturbed"] if settings.perturbed == "none" else []
    about += ["Nesterov's acceleration"] if settings.acceleration == "nesterov" else []
    return ", ".join(about)


SMOOTHERS: Final[Mapping[str, Kind]] = {
    "es": Kind(_es, _n_steps, localizations=EVERY_LOCALIZATION),
    "es_mda": Kind(
        _es_mda,
        _n_steps,
        _restricts,
        EVERY_LOCALIZATION,
        ends_by_itself=_searches,
        about=_about_alphas,
        check=_check_restriction,
    ),
    "eki": Kind(
        _eki,
        _n_steps,
        localizations=EVERY_LOCALIZATION,
        ends_by_itself=_searches,
        about=_about_eki,
        check=_check_acceleration,
    ),
    "etki": Kind(_etki, _n_steps, ends_by_itself=_searches, about=_about_alphas),
    "ies": Kind(_ies, _n_steps, _is_small, starts_from_prior=True),
    "enrml": Kind(_enrml, _n_steps, _is_small, ends_by_itself=_tolerates, starts_from_prior=True),
}
