"""Which observations a run believes: the settings of their quality, fitted to what was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daflow.assemble.sections.cycles import cycles_of
from daflow.config.localization import for_kinds
from daflow.config.policy import PolicySettings
from daflow.config.quality import MissingShare
from daflow.config.schema import Workflow
from daflow.errors import CombinationError
from daflow.inputs.boxes import numbered, super_obs_of
from daflow.inputs.subsets import inflated, kept_of
from daflow.methods.checked import PREFIX, Fitted, checked_method
from daflow.methods.judging import FLAGS, Check, Judge
from daflow.names import Phase, Status
from daflow.ports import Arrays, FloatArray, Method, Observations, ObservationTable
from daflow.records import Cycle, Outcome

MOST_TOLD: Final = 5
"""Steps whose observations are told of one by one."""
Make = Callable[[Workflow, Observations], Method]
"""Fits the method of a workflow to observations, whichever they are."""


def checked(workflow: Workflow, observations: Observations, make: Make) -> Method:
    """Return the method of a workflow, fitted at each step to the observations that are believed then.

    Law: without settings of quality it is what ``make`` returns.

    Raises
    ------
    daflow.errors.InputError
        It cannot be: settings and observations do not go together.
    """
    judge = judge_of(workflow, observations.table)
    if judge is None and workflow.observations.super_obs is None:
        return make(workflow, observations)
    cycles = cycles_of(workflow, observations.table)
    _check_averages(workflow)

    def fit(scale: FloatArray) -> Fitted:
        rows = np.flatnonzero(np.isfinite(scale))
        left = kept_of(inflated(observations, np.where(np.isfinite(scale), scale, 1.0)), rows)
        if cycles and left.numbers is not None:
            left = replace(left, numbers=_within(cycles, rows))
        made = super_obs_of(workflow.observations.super_obs, left)
        used, averages = (left, None) if made is None else (made[0], made[1].weights)
        return Fitted(make(_among(workflow, used.table), used), averages)

    return checked_method(judge, fit, len(observations.table["name"]), cycles)


def judge_of(workflow: Workflow, table: ObservationTable) -> Judge | None:
    """Return who says which observations to believe; None: all are believed, whatever is predicted."""
    settings = workflow.observations
    background, outliers = settings.background_check, settings.outliers
    if background is None and outliers is None and not share_missing(workflow.policy):
        return None
    return Judge(
        np.asarray(table["value"], dtype=np.float64),
        np.asarray(table["error_std"], dtype=np.float64) ** 2,
        np.unique(np.asarray(table["kind"], dtype=str), return_inverse=True)[1].astype(np.int64),
        None if background is None else Check(background.threshold, background.action),
        None if outliers is None else Check(outliers.threshold, outliers.action),
    )


def share_missing(policy: PolicySettings) -> float | None:
    """Return which share of its predictions a member may miss; None: a member that misses any is invalid."""
    missing = policy.missing_predictions
    if isinstance(missing, MissingShare):
        return missing.share
    return {"invalid": None, "drop_observations": 1.0, "drop_members": 0.0}[missing]


def notes_of(workflow: Workflow, observations: Observations) -> tuple[str, ...]:
    """Return in words what was done to observations before any forecast."""
    made = super_obs_of(workflow.observations.super_obs, observations)
    if made is None:
        return observations.notes
    n_obs, n_averages = len(observations.table["name"]), len(made[0].table["name"])
    return (*observations.notes, f"the update sees {n_averages:,} averages of the {n_obs:,} observations")


def flags_of(prepared: Arrays | None, n_obs: int) -> NDArray[np.str_]:
    """Return a step's flags (n_obs,) in words: used, background, outlier, missing.

    Parameters
    ----------
    prepared
        What was prepared for the step.
    """
    codes = None if prepared is None else prepared.get(PREFIX + "flags")
    words = np.zeros(n_obs, dtype=np.int64) if codes is None else np.asarray(codes, dtype=np.int64)
    return np.take(np.array(FLAGS), words)


def scale_of(prepared: Arrays | None, n_obs: int) -> FloatArray:
    """Return what multiplied the errors' standard deviations at a step (n_obs,); infinite: left out."""
    scale = None if prepared is None else prepared.get(PREFIX + "scale")
    return np.ones(n_obs) if scale is None else np.asarray(scale)


def told(observations: Observations, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield in words what a run did to its observations: when they were read, and at its steps."""
    for note in observations.notes:
        yield f"Observations: {note}."
    yield from told_flags(outcomes)


def told_flags(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield in words what the steps of a run left out and believed less, where that changed.

    Of more than `MOST_TOLD` steps, all in one.
    """
    prepared = {o.task.step: o.figures for o in outcomes if o.task.phase is Phase.PREPARE and _fine(o)}
    found = [(step, _counts(figures)) for step, figures in sorted(prepared.items())]
    found = [(step, counts) for step, counts in found if counts]
    new = [each for k, each in enumerate(found) if k == 0 or each[1] != found[k - 1][1]]
    if len(new) <= MOST_TOLD:
        for step, counts in new:
            yield from _told_counts(f"Step {step}", counts)
        return
    total = {name: sum(counts[name] for _, counts in found) for name in found[0][1]}
    yield from _told_counts(f"Steps {found[0][0]} to {found[-1][0]}, added up", total)


def _counts(figures: Mapping[str, float]) -> dict[str, int]:
    return {name: round(n) for name, n in figures.items() if name.startswith("obs_")}


def _told_counts(where: str, counts: Mapping[str, int]) -> Iterator[str]:
    reasons = [f"{counts[f'obs_{name}']} {name}" for name in FLAGS[1:] if counts[f"obs_{name}"]]
    if reasons:
        less = f", {counts['obs_inflated']} with a larger error" if counts["obs_inflated"] else ""
        n_obs = counts["obs_used"] + counts["obs_left_out"]
        used = f"{counts['obs_used']} of {n_obs} observations used"
        yield f"{where}: {used}{less}; flagged: {', '.join(reasons)}."


def _fine(outcome: Outcome) -> bool:
    return outcome.status is Status.OK


def check_quality(workflow: Workflow, table: ObservationTable) -> None:
    """See that the settings of quality go with the other sections and with what is observed.

    Raises
    ------
    daflow.errors.DataError
        Boxes count along an axis along which an observation has no place.
    daflow.errors.CombinationError
        Averages are asked for in cycles.
    """
    _check_averages(workflow)
    if workflow.observations.super_obs is not None:
        numbered(table, workflow.observations.super_obs.box, "observations.super_obs.box")


def _check_averages(workflow: Workflow) -> None:
    if workflow.observations.super_obs is not None and workflow.cycling is not None:
        raise CombinationError(
            "observations.super_obs: averages have no cycle of their own",
            got="super_obs and cycling",
            allowed="one of them",
            do="average the observations beforehand, or use observations.thinning",
        )


def _within(cycles: tuple[Cycle, ...], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each observation within its cycle, by which its random numbers are addressed."""
    firsts = np.array([cycle.first for cycle in cycles])
    within: NDArray[np.int64] = rows - firsts[np.searchsorted(firsts, rows, side="right") - 1]
    return within


def _among(workflow: Workflow, table: ObservationTable) -> Workflow:
    """Return a workflow whose localization speaks of no kind that is left out altogether."""
    there = set(np.unique(np.asarray(table["kind"], dtype=str)).tolist())
    return workflow.model_copy(update={"localization": for_kinds(workflow.localization, there)})
