"""What a run has to know of a kind of method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daflow.config.schema import Workflow
from daflow.ports import Method, Observations


def _never(workflow: Workflow) -> bool:  # noqa: ARG001 - whatever the workflow says
    return False


@dataclass(frozen=True, slots=True)
class Kind:
    """How a method is made, and what a run has to know before it is."""

    make: Callable[[Workflow, Observations], Method]
    """Returns the method, fitted to the observations."""
    n_steps: Callable[[Workflow], int]
    """How many updates it makes, at most."""
    surveys: Callable[[Workflow], bool] = _never
    """Whether it looks at the whole prior before it updates any slice."""
