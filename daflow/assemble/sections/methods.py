"""The section ``method``, fitted to what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daflow.assemble.sections.cycles import observed_at
from daflow.assemble.sections.filters import FILTERS
from daflow.assemble.sections.inflations import check_inflation, inflated
from daflow.assemble.sections.kinds import Kind, check_localization, localization_of
from daflow.assemble.sections.localities import locality_surveys
from daflow.assemble.sections.quality import checked
from daflow.assemble.sections.smoothers import SMOOTHERS
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.methods.diagnosed import diagnosed
from daflow.methods.observed import Observed
from daflow.ports import Method, Observations

KINDS: Final[Mapping[str, Kind]] = {**SMOOTHERS, **FILTERS}
"""Kind of method -> what a run has to know of it."""


def method_of(workflow: Workflow, observations: Observations) -> Method:
    """Return the method, fitted to the observations.

    Raises
    ------
    daflow.errors.InputError
        It cannot be: settings and observations do not go together.
    """
    return checked(workflow, observations, _fitted)


def _fitted(workflow: Workflow, observations: Observations) -> Method:
    """Return the method, fitted to observations all of which are used."""
    kind = KINDS[workflow.method.kind]
    check_localization(kind, workflow)
    check_inflation(kind, workflow)
    method = inflated(workflow, kind.make(workflow, observations), observations)

    def observed(step: int) -> Observed:
        # Asked for again: made beforehand, it would take as long at every worker that updates slices.
        return observed_at(workflow, observations)(step)

    # Outermost: figures are of all that is used, and nothing of the method depends on them.
    return diagnosed(method, observed)


def check_method(workflow: Workflow) -> None:
    """See that the sections of the workflow go with the method, before anything is observed.

    Raises
    ------
    daflow.errors.CombinationError
        They do not.
    """
    _check_cycling(workflow)
    KINDS[workflow.method.kind].check(workflow)
    check_localization(KINDS[workflow.method.kind], workflow)
    check_inflation(KINDS[workflow.method.kind], workflow)


def _check_cycling(workflow: Workflow) -> None:
    kind = workflow.method.kind
    if workflow.cycling is not None and kind not in FILTERS:
        raise CombinationError(
            f"method.kind {kind} does not go from cycle to cycle: it iterates over all observations",
            got=f"cycling, with method.kind: {kind}",
            allowed=f"method.kind: {' | '.join(FILTERS)}",
            do="choose a filter, or leave the section cycling out",
        )
    if workflow.cycling is None or not workflow.cycling.lag:
        return
    if not KINDS[kind].one_transform or localization_of(workflow) != "none":
        kinds = " | ".join(name for name, each in KINDS.items() if each.one_transform)
        raise CombinationError(
            "cycling.lag passes on updates that are one transform of the members, the same for all numbers",
            got=f"method.kind: {kind}, localization.kind: {workflow.localization.kind}",
            allowed=f"method.kind: {kinds}, with localization.kind: none",
            do="set cycling.lag: 0, or choose one of these and leave the section localization out",
        )


def ends_by_itself(workflow: Workflow) -> bool:
    """Say whether the method may make fewer updates than `n_steps_of`."""
    return KINDS[workflow.method.kind].ends_by_itself(workflow)


def starts_from_prior(workflow: Workflow) -> bool:
    """Say whether every update starts from the prior's members, not from those of the step before."""
    return KINDS[workflow.method.kind].starts_from_prior


def n_steps_of(workflow: Workflow) -> int:
    """Return how many updates the method makes, at most where it ends by itself."""
    return KINDS[workflow.method.kind].n_steps(workflow)


def surveys(workflow: Workflow) -> bool:
    """Say whether the method looks at the whole prior before it updates any slice."""
    return KINDS[workflow.method.kind].surveys(workflow) or locality_surveys(workflow)


def summary_of(workflow: Workflow) -> str:
    """Return in a line what the method is, for reports."""
    return KINDS[workflow.method.kind].summary(workflow)
