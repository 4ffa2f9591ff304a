"""Batch systems: what submits a script to a queue, tells where it stands and ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from daflow.errors import PoolError
from daflow.execution.queues.job_states import JobState
from daflow.execution.queues.oar_and_moab import Moab, Oar
from daflow.execution.queues.other_queues import GridEngine, HtCondor, Lsf
from daflow.execution.queues.pbs import Pbs
from daflow.execution.queues.slurm import Slurm

__all__ = ["BatchSystem", "JobState", "batch_system", "systems"]


class BatchSystem(Protocol):
    """A queue of jobs, by the commands that it comes with.

    Laws: nothing is assumed of a job that the queue does not tell of; cancelling twice is cancelling once;
    what the queue refuses is a `daflow.errors.PoolError` that says what it said.
    """

    @property
    def kind(self) -> str:
        """Its name in workflow files."""
        ...

    @property
    def index(self) -> str:
        """What stands in a shell script for the number, from 0, of the array's element that runs it."""
        ...

    @property
    def has_arrays(self) -> bool:
        """Whether one script can be submitted many times at once."""
        ...

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script and return the job's id.

        Parameters
        ----------
        script
            A shell script whose head tells the queue what it needs; for HTCondor a submit description.
        array
            So many elements, numbered from 0; ``None``: a job alone.
        at_once
            How many of them may run at the same time; ``None``: as many as the queue lets.
        after
            The id of a job that has to have ended first, however it ended.

        Raises
        ------
        daflow.errors.PoolError
            The queue's command is not there, does not answer, or refuses.
        daflow.errors.CombinationError
            This queue cannot do what was asked for.
        """
        ...

    def element(self, array: str, index: int) -> str:
        """Return the id of an element of an array, numbered from 0."""
        ...

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where each of these jobs, elements or arrays stands; all with one question.

        Raises
        ------
        daflow.errors.PoolError
            The queue does not answer.
        """
        ...

    def cancel(self, ids: Iterable[str]) -> None:
        """End these jobs, elements or arrays; those that have ended already are fine.

        Raises
        ------
        daflow.errors.PoolError
            The queue does not answer, or refuses.
        """
        ...


def cancel_those_left(queue: BatchSystem, ids: Iterable[str]) -> list[str]:
    """Cancel those of these jobs that have not ended; return which.

    Raises
    ------
    daflow.errors.PoolError
        The queue does not answer, or refuses.
    """
    left = [job for job, state in queue.states(ids).items() if not state.gone]
    if left:
        queue.cancel(left)
    return left


_SYSTEMS: Final[Mapping[str, Callable[[], BatchSystem]]] = {
    "slurm": Slurm,
    "pbs": Pbs,
    "torque": lambda: Pbs("torque"),
    "lsf": Lsf,
    "sge": GridEngine,
    "htcondor": HtCondor,
    "oar": Oar,
    "moab": Moab,
}


def systems() -> tuple[str, ...]:
    """Return the names of all batch systems."""
    return tuple(_SYSTEMS)


def batch_system(kind: str) -> BatchSystem:
    """Return the batch system of that name.

    Raises
    ------
    daflow.errors.PoolError
        There is none.
    """
    if kind not in _SYSTEMS:
        raise PoolError("no such batch system", got=kind, allowed=", ".join(_SYSTEMS), do="name one of these")
    return _SYSTEMS[kind]()
