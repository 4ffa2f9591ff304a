"""Slurm: sbatch, squeue, sacct, scancel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from daflow.errors import PoolError
from daflow.execution.queues.commands import ask, in_lots
from daflow.execution.queues.job_states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NODE_FAIL,
    OUT_OF_MEMORY,
    PREEMPTED,
    TIMEOUT,
    JobPhase,
    JobState,
    of_those_asked,
)

ENDS: Final[Mapping[str, str]] = {
    "COMPLETED": COMPLETED,
    "FAILED": FAILED,
    "CANCELLED": CANCELLED,
    "REVOKED": CANCELLED,
    "TIMEOUT": TIMEOUT,
    "DEADLINE": TIMEOUT,
    "OUT_OF_MEMORY": OUT_OF_MEMORY,
    "NODE_FAIL": NODE_FAIL,
    "BOOT_FAIL": NODE_FAIL,
    "PREEMPTED": PREEMPTED,
}
WAITING: Final = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"}
)


def _state(word: str, reason: str, host: str) -> JobState:
    word = word.split(maxsplit=1)[0] if word else ""  # "CANCELLED by 1000"
    if word in ENDS:
        return JobState("ended", ENDS[word], host)
    phase: JobPhase = "pending" if word in WAITING else "running"
    return JobState(phase, "" if reason in {"None", ""} else reason, "" if phase == "pending" else host)


class Slurm:
    """Slurm, by its own commands.

    Ended jobs are known to squeue for ``MinJobAge`` (300 s unless the site says otherwise), and to sacct for
    ever where the site keeps accounts.
    """

    kind: Final = "slurm"
    index: Final = "$SLURM_ARRAY_TASK_ID"
    """What stands in a script for the number of its element."""
    has_arrays: Final = True

    def element(self, array: str, index: int) -> str:
        """Return the id of an element of an array."""
        return f"{array}_{index}"

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script; return the id of the job."""
        argv = ["sbatch", "--parsable"]
        if array is not None:
            argv.append(f"--array=0-{array - 1}" + ("" if at_once is None else f"%{at_once}"))
        if after is not None:
            argv.append(f"--dependency=afterany:{after}")
        # "id" or "id;cluster"
        return ask([*argv, str(script)]).strip().split(";")[0]

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: one squeue for all, and one sacct for what squeue has forgotten."""
        asked = list(ids)
        found: dict[str, JobState] = {}
        for lot in in_lots(_arrays(asked)):
            # squeue takes one job alone that it does not know for a mistake, and one of several not.
            which = ",".join([*lot, lot[0]])
            said = ask(["squeue", "-h", "-r", "-t", "all", "-j", which, "-o", "%i|%T|%r|%N"])
            found |= _parsed(said)
        known = {_array(job) for job in found}
        if forgotten := [job for job in _arrays(asked) if job not in known]:
            found |= self._accounted(forgotten)
        return of_those_asked(asked, found, {job: _array(job) for job in found})

    def _accounted(self, arrays: Sequence[str]) -> dict[str, JobState]:
        found: dict[str, JobState] = {}
        # Without accounts nothing more is known, which is no error.
        with suppress(PoolError):
            for lot in in_lots(arrays):
                form = "-o", "JobID,State,NodeList"
                said = ask(["sacct", "-n", "-P", "-X", "-j", ",".join(lot), *form])
                rows = (line.split("|") for line in said.splitlines() if line.count("|") == 2)
                found |= {job: _state(word, "", host) for job, word, host in rows}
        return found

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs, wherever they stand; one that has ended already is fine."""
        for lot in in_lots(list(ids)):
            ask(["scancel", *lot], some_gone=True)


def _parsed(said: str) -> dict[str, JobState]:
    rows = (line.split("|") for line in said.splitlines() if line.count("|") == 3)
    return {job: _state(word, reason, host) for job, word, reason, host in rows}


def _array(job: str) -> str:
    return job.split("_", maxsplit=1)[0]


def _arrays(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(_array(job) for job in ids))
