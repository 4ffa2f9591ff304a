"""What if: other analyses of a forecast that is there, each a branch that is driven up to its posterior."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from daflow.assemble.branching import (
    BRANCHES,
    RECORD,
    Branching,
    branch_folders,
    branching_of,
    plan_for,
    progress_of,
    store_for,
)
from daflow.assemble.driving.launch import Watch, called_for, drive, ignore
from daflow.assemble.environment import environment
from daflow.assemble.folder import RunFolder, open_folder, write_resolved
from daflow.assemble.sections.build import model_of, observed_of, plan_of, store_of
from daflow.assemble.sections.localities import locality_of
from daflow.assemble.sections.methods import check_method, method_of
from daflow.assemble.sections.storage_place import check_free, place_of_branch, without_way
from daflow.assemble.what_if import unchanged
from daflow.assemble.what_if.wishes import Wish
from daflow.config.load import to_json, workflow_from
from daflow.config.overrides import parse_override, with_overrides
from daflow.config.schema import Workflow
from daflow.errors import ConfigError, DataError
from daflow.execution.pools.crews import Crew
from daflow.names import Phase
from daflow.ports import Observations
from daflow.runs import facts
from daflow.runs.decide import BEFORE_ANALYSIS, Stop
from daflow.runs.facts import Progress
from daflow.storage import write_durably
from daflow.storage.files import PARTIAL, make_folder, store_errors, sync_folder

Watched = Callable[[RunFolder], AbstractContextManager[Watch]]


def make_branches(run: RunFolder, wishes: Iterable[Wish]) -> list[RunFolder]:
    """Make branches of a run, or open those that were made of the same wishes; none is made if one cannot be.

    Raises
    ------
    daflow.errors.InputError
        A setting cannot be used, or would change what the branch takes over; or a branch of that name has
        other settings.
    daflow.errors.StoreError
        The disk is full or not writable.
    """
    asked = [(wish, _asked(run, wish)) for wish in wishes]
    there = branch_folders(run)
    made = {
        wish.name: _same(open_folder(there[wish.name]), wish, w) for wish, w in asked if wish.name in there
    }
    for wish, workflow in asked:
        if wish.name not in made:
            made[wish.name] = _made(run, wish, workflow)
    return [made[wish.name] for wish, _ in asked]


def _asked(run: RunFolder, wish: Wish) -> Workflow:
    """Return the workflow of a branch, seen to be one that can take over the forecast."""
    values: dict[str, Any] = json.loads(to_json(run.workflow))
    for text in wish.overrides:
        path, value = parse_override(text)
        here = values.get(str(path[0]))
        if len(path) == 2 and path[1] == "kind" and isinstance(here, dict) and here.get("kind") != value:
            # The settings of one kind are not those of another: it starts from its own defaults.
            values[str(path[0])] = {"kind": value}
    store = run.workflow.storage.path
    if store is not None:
        values["storage"]["path"] = place_of_branch(store, BRANCHES, wish.name)
    values, _ = with_overrides(values, wish.overrides)
    workflow = workflow_from(values | {"name": f"{run.workflow.name}, {wish.name}"}, run.folder, "--set")
    asked = [parse_override(text)[0] for text in wish.overrides]
    check_method(workflow)
    n_steps = plan_of(workflow, run.layout).n_steps
    unchanged.check(run.workflow, workflow, asked, wish.step, n_steps)
    observations = _observations(run, workflow)
    locality = locality_of(workflow, observations.table)
    if locality is not None:
        locality.check()
    method_of(workflow, observations)
    return workflow


def _observations(run: RunFolder, workflow: Workflow) -> Observations:
    """Return the parent's observations, or the same ones with other errors where they are to have such."""
    theirs = store_for(run).read_observations()
    if not unchanged.other_errors(run.workflow, workflow):
        return theirs
    ours = observed_of(workflow, model_of(workflow))
    columns = [name for name in theirs.table if name != "error_std"]
    if isinstance(ours, Observations) and all(
        name in ours.table
        and np.array_equal(theirs.table[name], ours.table[name], equal_nan=_numeric(theirs, name))
        for name in columns
    ):
        return ours
    raise DataError(
        "observations.error: the observations are read again for it, and are not what the run observed",
        got="another table",
        allowed="the table that the run read, but for error_std",
        do="restore the file of the observations as it was when the run was made",
    )


def _numeric(observations: Observations, name: str) -> bool:
    return np.asarray(observations.table[name]).dtype.kind == "f"


def _made(run: RunFolder, wish: Wish, workflow: Workflow) -> RunFolder:
    """Make the folder of a branch: whole or not at all."""
    folder = run.folder / BRANCHES / wish.name
    progress, key = progress_of(run), plan_for(run).keys[Phase.FORECAST, wish.step]
    branching = Branching("../..", wish.step, progress.survivors[Phase.FORECAST, wish.step], _told(run, wish))
    made = replace(run, folder=folder, workflow=workflow, environment=environment())
    check_free(workflow.storage, "a branch")
    partial = replace(made, folder=folder.with_name(f".{wish.name}.{uuid.uuid4().hex}{PARTIAL}"))
    make_folder(partial.folder)
    write_durably(partial.folder / "workflow.yaml", to_json(workflow).encode())
    write_durably(partial.folder / RECORD, json.dumps(branching.to_json(), indent=1).encode())
    lines = [facts.branched(branching.parent, wish.step, key), *_taken_over(progress, wish.step)]
    write_durably(partial.journal, "".join(f"{json.dumps(fact)}\n" for fact in lines).encode())
    if unchanged.other_errors(run.workflow, workflow):
        own = store_of(workflow, partial.folder, made.layout)
        own.write_observations(_observations(run, workflow))
    write_resolved(partial)
    with store_errors("make the branch", folder):
        partial.folder.rename(folder)
    sync_folder(folder.parent)
    return made


def _taken_over(progress: Progress, step: int) -> Iterable[facts.Fact]:
    """Return the facts that what the parent has done is settled, up to the forecast of a step."""
    for stage, survivors in progress.survivors.items():
        if stage[0] is Phase.SMOOTH:
            # By the parent's analyses, of which some may not be the branch's.
            continue
        if stage[1] < step or (stage[1] == step and stage[0] in BEFORE_ANALYSIS):
            yield facts.closed(stage, survivors)


def _told(run: RunFolder, wish: Wish) -> Mapping[str, Any]:
    """Return the settings that differ from the parent's, by their dotted keys."""
    before = json.loads(to_json(run.workflow))
    told = {}
    for text in wish.overrides:
        path, value = parse_override(text)
        here: Any = before
        for part in path:
            here = here.get(part) if isinstance(here, dict) else None
        if here != value:
            told[".".join(map(str, path))] = value
    return told


def _same(branch: RunFolder, wish: Wish, workflow: Workflow) -> RunFolder:
    """Return a branch that is there if it is what is wished for."""
    branching = branching_of(branch.folder)
    free = {"name", "execution", "policy"}
    before, now = (without_way(each.model_dump(mode="json")) for each in (branch.workflow, workflow))
    other = sorted(name for name in now if name not in free and now[name] != before.get(name))
    at = None if branching is None else branching.step
    if other or at != wish.step:
        raise ConfigError(
            f"there is a branch {wish.name} already, of other settings",
            got=f"step {wish.step}, it has {at}" if at != wish.step else f"changed: {', '.join(other)}",
            allowed="the same step and settings (then it is gone on with), or another name",
            do="give another --name, or clear that branch away",
        )
    return replace(branch, workflow=workflow)


def analyse_all(branches: Sequence[RunFolder], watched: Watched) -> None:
    """Do the analyses of branches, one after the other, by the same workers where they ask for such.

    Parameters
    ----------
    branches
        Branches that have been made, at least one.
    watched
        Returns a context that watches the branch that it is given.

    Raises
    ------
    daflow.errors.RunError, KeyboardInterrupt
        As `daflow.assemble.driving.launch.drive`; the branches before are done. Where it is an
        analysis that failed, the others are done as well.
    """
    stops = []
    with called_for(branches[0]) as call:
        client = cache(call)
        for branch in branches:
            alike = branch.workflow.execution == branches[0].workflow.execution
            with watched(branch) as watch:
                stops.append(analyse(branch, watch, client if alike else None))
    for branch, stop in zip(branches, stops, strict=True):
        stop.check(branch.folder)


def analyse(branch: RunFolder, watch: Watch = ignore, called: Callable[[], Crew] | None = None) -> Stop:
    """Do the analysis that a branch is made for, as far as it is not done, and say how it ended.

    Parameters
    ----------
    branch
        A branch that has been made.
    watch
        Called with every new fact and where the branch stands then.
    called
        Returns a client of workers; ``None``: the branch calls its own.

    Raises
    ------
    daflow.errors.DataError
        The run is no branch.
    daflow.errors.RunError, KeyboardInterrupt
        As `daflow.assemble.driving.launch.drive`.
    """
    branching = branching_of(branch.folder)
    if branching is None:
        raise DataError(f"the run in {branch.folder} is no branch", do="make one with `daflow analyse`")
    if (Phase.UPDATE, branching.step) in progress_of(branch).survivors:
        return Stop("analysed", f"the analysis of step {branching.step} is done", resumable=True)
    return drive(branch, watch, pause=branching.step, called=called)
