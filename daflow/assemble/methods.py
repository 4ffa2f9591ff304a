"""The section ``method``, fitted to what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daflow.assemble.kinds import Kind
from daflow.assemble.smoothers import SMOOTHERS
from daflow.config.schema import Workflow
from daflow.ports import Method, Observations

KINDS: Final[Mapping[str, Kind]] = {**SMOOTHERS}
"""Kind of method -> what a run has to know of it."""


def method_of(workflow: Workflow, observations: Observations) -> Method:
    """Return the method, fitted to the observations.

    Raises
    ------
    daflow.errors.InputError
        It cannot be: settings and observations do not go together.
    """
    return KINDS[workflow.method.kind].make(workflow, observations)


def n_steps_of(workflow: Workflow) -> int:
    """Return how many updates the method makes, at most where it ends by itself."""
    return KINDS[workflow.method.kind].n_steps(workflow)


def surveys(workflow: Workflow) -> bool:
    """Say whether the method looks at the whole prior before it updates any slice."""
    return KINDS[workflow.method.kind].surveys(workflow)
