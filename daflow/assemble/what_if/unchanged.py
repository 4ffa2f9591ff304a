"""What a branch may not change: all that the forecast which it takes over came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from daflow.assemble.sections.cycles import n_repeats
from daflow.assemble.sections.keys import stage_keys
from daflow.assemble.sections.smoothers import alphas_of
from daflow.config.es_mda import DISCREPANCY, EsMdaSettings, GeometricAlphas
from daflow.config.observations import FileObservations
from daflow.config.schema import Workflow
from daflow.config.yaml_text import KeyPath
from daflow.errors import ConfigError
from daflow.names import Phase

ALLOWED: Final = (
    "settings of the analysis: method, localization, inflation, cycling.lag, transform and clip of "
    "parameters; of observations background_check, outliers and super_obs, and of a file's the error; and "
    "execution"
)
OF_ANALYSIS: Final = frozenset({"inversion", "truncation"})
"""What of a method that iterates may change from one update to the next."""
OF_SCHEDULE: Final = frozenset({"steps", "alphas", "normalise"})


def check(parent: Workflow, branch: Workflow, asked: Sequence[KeyPath], step: int, n_steps: int) -> None:
    """Refuse a branch of a step with settings that the forecast of the step depends on.

    Law: the key of the forecast is the same with each section of the branch in the place of the parent's.

    Parameters
    ----------
    parent, branch
        What the run did, and what the branch is to do from the step's analysis on.
    asked
        The keys that were set, for the message.
    step, n_steps
        The step whose analysis is the branch's first, and how many the branch's settings make it have.

    Raises
    ------
    daflow.errors.ConfigError
        A setting is one of those; the message names it.
    """
    came_from = _forecast_key(parent)
    for section in type(parent).model_fields:
        ours = _as_if_errors_were(parent, branch) if section == "observations" else getattr(branch, section)
        if _forecast_key(parent.model_copy(update={section: ours})) != came_from:
            raise _refused(section, asked)
    if n_steps <= step:
        raise ConfigError(
            f"method: there is no analysis of step {step}",
            got=f"{n_steps} updates, of steps 0 to {n_steps - 1}",
            allowed=f"more than {step} updates, or an earlier step",
            do="give another --step, or a schedule that goes on (method.steps, method.alphas)",
        )
    if n_repeats(branch) != n_repeats(parent):
        raise ConfigError(
            "method: a branch cannot forecast cycles more often, or less, than its run",
            got=f"method.kind: {branch.method.kind}, {n_repeats(branch)} repeats of a cycle",
            allowed=f"as many as the run has: {n_repeats(parent)}",
            do="run the workflow with this method in a folder of its own",
        )
    if step and parent.cycling is None:
        _check_iteration(parent, branch, step)


def other_errors(parent: Workflow, branch: Workflow) -> bool:
    """Say whether a branch takes the errors of a file's observations otherwise than its parent."""
    ours, theirs = branch.observations, parent.observations
    if not (isinstance(ours, FileObservations) and isinstance(theirs, FileObservations)):
        return False
    return ours.error != theirs.error


def _as_if_errors_were(parent: Workflow, branch: Workflow) -> object:
    """Return a branch's observations with their errors as the parent has them, where a file holds both."""
    if not other_errors(parent, branch):
        return branch.observations
    # How far what was measured is trusted does not change what is predicted of it; a twin's errors are in it.
    return branch.observations.model_copy(update={"error": parent.observations.error})


def _forecast_key(workflow: Workflow) -> str:
    return stage_keys(workflow, 0)[Phase.FORECAST, 0]


def _refused(section: str, asked: Sequence[KeyPath]) -> ConfigError:
    named = [".".join(map(str, path)) for path in asked if path[0] == section and not _of_margins(path)]
    return ConfigError(
        f"--set {', '.join(named) or section}: the forecast depends on it, which a branch takes as it is",
        allowed=ALLOWED,
        do="run the workflow with this setting in a folder of its own: its members have to be forecast again",
    )


def _of_margins(path: KeyPath) -> bool:
    """Say whether a key is one of those of a parameter that only its updates know."""
    return path[0] == "parameters" and path[2:3] in {("transform",), ("clip",)}


def _check_iteration(parent: Workflow, branch: Workflow, step: int) -> None:
    """Refuse to change on the way what an iteration over the same observations has been from its start."""
    changed = sorted(_changed(parent, branch))
    schedule = OF_SCHEDULE.intersection(changed)
    if schedule and (_same_so_far(parent, branch, step) or _found_from_here(parent, branch)):
        changed = [name for name in changed if name not in schedule]
    refused = [name for name in changed if name not in OF_ANALYSIS]
    if refused:
        raise ConfigError(
            f"method.{', method.'.join(refused)}: cannot change at step {step}, amid an iteration",
            allowed=f"another {' or '.join(sorted(OF_ANALYSIS))}, localization or inflation; for es_mda "
            f"alphas of which the first {step} are those that were taken, or alphas: discrepancy",
            do="branch off at step 0, where all of method may change",
        )


def _changed(parent: Workflow, branch: Workflow) -> Iterator[str]:
    before, now = parent.method.model_dump(mode="json"), branch.method.model_dump(mode="json")
    if before["kind"] != now["kind"]:
        yield "kind"
        return
    yield from (name for name in now if now[name] != before[name])


def _same_so_far(parent: Workflow, branch: Workflow, step: int) -> bool:
    """Say whether the alphas of both are given beforehand, and agree up to a step."""
    taken, asked = parent.method, branch.method
    if not (isinstance(taken, EsMdaSettings) and isinstance(asked, EsMdaSettings)):
        return False
    if not (_given_beforehand(taken) and _given_beforehand(asked)):
        return False
    return alphas_of(taken)[:step] == alphas_of(asked)[:step]


def _found_from_here(parent: Workflow, branch: Workflow) -> bool:
    """Say whether the alphas that are left are found on the way: those taken so far are kept with the run."""
    taken, asked = parent.method, branch.method
    return (
        isinstance(taken, EsMdaSettings) and isinstance(asked, EsMdaSettings) and asked.alphas == DISCREPANCY
    )


def _given_beforehand(method: EsMdaSettings) -> bool:
    return method.alphas == "constant" or isinstance(method.alphas, tuple | GeometricAlphas)
