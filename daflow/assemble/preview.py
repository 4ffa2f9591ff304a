"""What a workflow would do and take, before anything runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from daflow.assemble.build import layout_of
from daflow.assemble.folder import look_at
from daflow.assemble.methods import n_steps_of
from daflow.config.schema import Workflow
from daflow.storage.zarr_rows import files_a_step


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
    layout = layout_of(workflow, look_at(workflow))
    n_members, n_steps = len(workflow.ensemble.members), n_steps_of(workflow)
    # The last slice is stored padded to a whole chunk.
    item = np.dtype(layout.dtype).itemsize
    row = layout.n_slices * layout.slice_size * item + layout.n_obs * 8
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
        n_members * (n_steps + 1),
        row * n_members * (n_steps + 1),
        sum(files_a_step(layout, step, n_members) + n_members for step in range(n_steps + 1)),
        files_a_step(layout, 1, n_members),
        item,
        layout.slice_size * n_members * item,
    )
