"""What a workflow would do and take, before anything runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from daflow.assemble.driving.members_told import check_machine
from daflow.assemble.driving.members_told import told as members_told
from daflow.assemble.folder import look_at
from daflow.assemble.sections.inflations import inflations_told
from daflow.assemble.sections.methods import ends_by_itself, n_steps_of
from daflow.assemble.sections.quality import notes_of
from daflow.config.execution import QueueExecution
from daflow.config.external_models import CommandSettings
from daflow.config.member_jobs import WorkerMember
from daflow.config.observations import FileObservations
from daflow.config.schema import Workflow
from daflow.errors import ConfigError
from daflow.inputs.observations import read_observations
from daflow.models.command import find_program
from daflow.storage.zarr_rows import files_a_step

MOST: Final = "The method ends by itself: updates, model runs and store are the most that there can be."


@dataclass(frozen=True, slots=True)
class Preview:
    """Sizes of a workflow's run."""

    name: str
    model: str
    method: str
    localization: str
    n_members: int
    n_state: int
    n_obs: int
    n_steps: int
    n_slices: int
    slice_size: int
    forecasts: int
    """How often the model runs."""
    store_bytes: int
    """What all steps' arrays take on disk, before compression."""
    store_files: int
    step_files: int
    """What one step's parameters are in, after the prior's."""
    item_bytes: int
    """What a number of the state takes on disk."""
    slab_bytes: int
    """A slice of all members in memory; an update holds three of these."""
    notes: tuple[str, ...] = ()
    """What was done to the observations that were read, what the update sees of them, whether the numbers are
    the most there can be."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def preview(workflow: Workflow) -> Preview:
    """Look at all that a workflow names and return what its run would take.

    Raises
    ------
    daflow.errors.InputError
        Something that it names cannot be used.
    """
    layout = look_at(workflow)
    check_machine(workflow.execution)
    n_members, n_steps = len(workflow.ensemble.members), len(layout.cycles) or n_steps_of(workflow)
    # In a filter each step but the last has a state before its forecast and one after it.
    n_forecasts = n_steps if layout.cycles else n_steps + 1
    n_smoothed = n_steps if layout.lag else 0
    n_states = n_steps + 1 + len(layout.cycles) + n_smoothed
    # The last slice is stored padded to a whole chunk.
    item = np.dtype(layout.dtype).itemsize
    state_bytes = layout.n_slices * layout.slice_size * item
    n_predicted = sum(len(layout.obs_of(step)) for step in range(n_forecasts))
    return Preview(
        workflow.name,
        workflow.model.kind,
        workflow.method.kind,
        workflow.localization.kind,
        n_members,
        layout.n_state,
        layout.n_obs,
        n_steps,
        layout.n_slices,
        layout.slice_size,
        n_members * n_forecasts,
        (state_bytes * n_states + n_predicted * 8) * n_members,
        sum(files_a_step(layout, step, n_members) for step in range(n_steps + 1))
        + len(layout.cycles) * files_a_step(layout, 0, n_members)
        + n_smoothed * files_a_step(layout, 1, n_members)
        + n_forecasts * n_members,
        files_a_step(layout, 1, n_members),
        item,
        layout.slice_size * n_members * item,
        _notes(workflow),
    )


def _notes(workflow: Workflow) -> tuple[str, ...]:
    # What a method that ends by itself will come to is not known before it has.
    most = (MOST,) if ends_by_itself(workflow) else ()
    of_place = tuple(note for note in (_program_absent(workflow), _idle_cores(workflow)) if note)
    most = (*most, *of_place)
    if members := members_told(workflow.execution):
        most = (*most, members)
    if inflations := inflations_told(workflow):
        most = (*most, f"inflation: {inflations}")
    if not isinstance(workflow.observations, FileObservations):
        return most
    return (*most, *notes_of(workflow, read_observations(workflow.observations)))


def _program_absent(workflow: Workflow) -> str:
    """Return that the model's program is not on this machine, where it need not be; else nothing."""
    if isinstance(workflow.model, CommandSettings):
        try:
            find_program(workflow.model)
        except ConfigError as error:
            return f"{error.what} on this machine: the nodes' modules, prologue or image have to bring it"
    return ""


def _idle_cores(workflow: Workflow) -> str:
    """Return that jobs ask for cores that nothing is said to use; else nothing."""
    execution = workflow.execution
    if not isinstance(execution, QueueExecution) or execution.member != WorkerMember():
        return ""
    at_once = execution.slots_a_job
    if execution.cores <= at_once:
        return ""
    tasks = "1 task" if at_once == 1 else f"{at_once} tasks"
    return (
        f"each job asks for {execution.cores} cores and runs {tasks} at once: give it "
        "more processes or threads, or say execution.member.cores where members use several"
    )
