"""The folder of a run: made once, opened often.

::

    workflow.yaml    as given          resolved.json    every default spelled out, versions
    journal.jsonl    facts             lease.json       who drives it
    ensemble.zarr/   arrays            receipts/        what tasks leave behind
    logs/  work/     of attempts       report.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from daflow.assemble.environment import environment
from daflow.assemble.sections.build import (
    layout_of,
    model_of,
    observed_of,
    prior_of,
    table_of,
)
from daflow.assemble.sections.cycles import cycles_of
from daflow.assemble.sections.fits import check_cycles, check_fit
from daflow.assemble.sections.localities import locality_of
from daflow.assemble.sections.methods import check_method, method_of
from daflow.assemble.sections.quality import check_quality
from daflow.assemble.sections.storage_place import check_free, look_at_place, without_way
from daflow.config.load import from_json, to_json, workflow_from
from daflow.config.overrides import with_overrides as apply_overrides
from daflow.config.profiles import load_profile
from daflow.config.schema import Workflow
from daflow.errors import ConfigError, DataError, StoreError
from daflow.ports import Observations
from daflow.records import Cycle, Layout
from daflow.storage import write_durably
from daflow.storage.files import make_folder, sync_folder

RESOLVED = "resolved.json"
LARGEST_LOOK = 10**6
"""Numbers a member up to which random fields are tried beforehand: the driver must not hold large ones."""


@dataclass(frozen=True)
class RunFolder:
    """A run that has been made."""

    folder: Path
    workflow: Workflow
    n_obs: int
    environment: Mapping[str, str]
    """What it was made with."""
    cycles: tuple[Cycle, ...] = ()
    """A filter's."""

    @property
    def layout(self) -> Layout:
        """What its arrays look like."""
        return layout_of(self.workflow, self.n_obs, self.cycles)

    @property
    def journal(self) -> Path:
        """The file of its facts."""
        return self.folder / "journal.jsonl"

    @property
    def lease(self) -> Path:
        """The file that says who drives it."""
        return self.folder / "lease.json"


def make_run(workflow: Workflow, folder: Path, text: str) -> RunFolder:
    """Make the folder of a run, or open the one that was made for the same workflow.

    Everything that the workflow names is looked at first, so that bad input leaves nothing behind.

    Parameters
    ----------
    workflow
        What to do.
    folder
        Where; it may be there, but not hold anything else.
    text
        The workflow file as it was given.

    Raises
    ------
    daflow.errors.InputError
        The workflow names what cannot be used, or the folder holds something else.
    """
    folder = folder.absolute()
    if (folder / RESOLVED).exists():
        return _same_run(workflow, folder)
    layout = look_at(workflow)
    if folder.exists() and (not folder.is_dir() or any(p.name != "workflow.yaml" for p in folder.iterdir())):
        raise DataError(
            f"the run folder {folder} is in use",
            got="a file" if folder.is_file() else f"{sum(1 for _ in folder.iterdir())} entries in it, no run",
            allowed="a folder that does not exist yet, is empty, or holds this run",
            do="name another folder with --run",
        )
    check_free(workflow.storage, "a run")
    run = RunFolder(folder, workflow, layout.n_obs, environment(), layout.cycles)
    try:
        make_folder(folder)
        write_durably(folder / "workflow.yaml", text.encode())
        write_resolved(run)
    except StoreError as error:
        raise DataError(
            f"the run folder {folder} cannot be made",
            got=error.got,
            allowed="a folder on a disk that is writable and has room",
            do="name another folder with --run",
        ) from error
    return run


def write_resolved(run: RunFolder) -> None:
    """Write what describes a run, with every default spelled out."""
    resolved = {
        "workflow": json.loads(to_json(run.workflow)),
        "n_obs": run.n_obs,
        "environment": dict(run.environment),
    }
    if run.cycles:
        resolved["cycles"] = [asdict(cycle) for cycle in run.cycles]
    write_durably(run.folder / RESOLVED, json.dumps(resolved, indent=1).encode())
    sync_folder(run.folder)


def look_at(workflow: Workflow) -> Layout:
    """Read what the workflow names, as far as it can be done without running anything; return the layout.

    Raises
    ------
    daflow.errors.InputError
        Something cannot be used.
    """
    look_at_place(workflow.storage)
    check_method(workflow)
    model = model_of(workflow)
    observed = observed_of(workflow, model)
    table = table_of(observed)
    layout = layout_of(workflow, len(table["name"]), cycles_of(workflow, table))
    check_fit(workflow.model.kind, model, layout.variables, table)
    check_cycles(model, layout.cycles)
    check_quality(workflow, table)
    locality = locality_of(workflow, table)
    if locality is not None:
        locality.check()
    if isinstance(observed, Observations):
        method_of(workflow, observed)
    prior = prior_of(workflow, layout)
    if layout.n_state <= LARGEST_LOOK:
        prior.check()
    return layout


def open_folder(folder: Path) -> RunFolder:
    """Open a run that has been made.

    Raises
    ------
    daflow.errors.DataError
        There is no run in the folder, or what describes it cannot be read.
    """
    folder = folder.absolute()
    path = folder / RESOLVED
    if not path.is_file():
        raise DataError(
            f"there is no run in {folder}",
            got="no such folder" if not folder.exists() else f"no {RESOLVED} in it",
            do="name the folder that was given to `daflow run ... --run`",
        )
    try:
        resolved = json.loads(path.read_text())
        workflow = from_json(json.dumps(resolved["workflow"]))
        cycles = tuple(Cycle(**cycle) for cycle in resolved.get("cycles", ()))
        return RunFolder(folder, workflow, resolved["n_obs"], resolved["environment"], cycles)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read",
            got=f"{type(error).__name__}: {error}",
            do="restore the file from a copy, or run the workflow again in a new folder",
        ) from error


def _same_run(workflow: Workflow, folder: Path) -> RunFolder:
    """Return the run in a folder if it is of this workflow: its numbers may not depend on who is asked."""
    run = open_folder(folder)
    before, now = (without_way(each.model_dump(mode="json")) for each in (run.workflow, workflow))
    # Where and how tasks run does not change what they compute.
    free = {"name", "execution", "policy"}
    changed = sorted(name for name in now if name not in free and now[name] != before[name])
    if now["policy"]["missing_predictions"] != before["policy"]["missing_predictions"]:
        changed.append("policy.missing_predictions")
    if changed:
        raise ConfigError(
            f"the run in {folder} was made with other settings",
            got=f"changed: {', '.join(changed)}",
            allowed="the same settings (execution and policy, but for missing_predictions, may change)",
            do="run the new settings in a folder of their own, or `daflow resume` the old ones",
        )
    return replace(run, workflow=workflow)


def with_overrides(run: RunFolder, overrides: Sequence[str], profile: str | None = None) -> RunFolder:
    """Return a run with other settings of execution and policy; the numbers cannot depend on these.

    Parameters
    ----------
    run
        A run that has been made.
    overrides
        Settings, as ``key.sub=value``.
    profile
        The name or path of a profile that comes before them; a name is looked for in this folder, too.

    Raises
    ------
    daflow.errors.ConfigError
        An override cannot be used, or is of a setting that the run's numbers depend on.
    """
    if not overrides and profile is None:
        return run
    values = json.loads(to_json(run.workflow))
    if profile is not None:
        values = load_profile(profile, Path.cwd()).on(values)
    values, _ = apply_overrides(values, overrides)
    return _same_run(workflow_from(values, run.folder, "--set"), run.folder)
