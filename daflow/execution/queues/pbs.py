"""PBS in its dialects (OpenPBS, PBS Professional, Torque): qsub, qstat, qdel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from daflow.errors import PoolError
from daflow.execution.queues.commands import ask, in_lots
from daflow.execution.queues.job_states import (
    COMPLETED,
    FAILED,
    OUT_OF_MEMORY,
    TIMEOUT,
    JobState,
    of_those_asked,
)

WAITING: Final = frozenset("QHWTSM")
RUNNING: Final = frozenset("REBU")
BY_A_SIGNAL: Final = 128
"""From this exit status on a signal ended the job: qdel, a limit, whoever; which, Torque does not tell."""
WRONG_WORD: Final = re.compile("option|usage", re.IGNORECASE)
"""What an older qstat says of words that it does not know."""
KILLED_PRO: Final = {-29: TIMEOUT, -27: OUT_OF_MEMORY, -26: OUT_OF_MEMORY}
"""Why PBS Professional and OpenPBS ended a job."""


class Pbs:
    """PBS by the commands that its dialects share; what only newer ones know is tried first.

    Parameters
    ----------
    kind
        ``pbs``, or ``torque``, whose word for arrays is another one.
    """

    index: Final = "${PBS_ARRAY_INDEX:-$PBS_ARRAYID}"
    has_arrays: Final = True

    def __init__(self, kind: str = "pbs") -> None:
        self.kind = kind
        self._history = ["-x"]

    def element(self, array: str, index: int) -> str:
        """Return the id of an element of an array: ``17[3].server`` of ``17[].server``."""
        return array.replace("[]", f"[{index}]")

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script; return the id of the job.

        Raises
        ------
        daflow.errors.PoolError
            The queue refuses.
        """
        argv = ["qsub"]
        if array is not None:
            argv += [
                "-t" if self.kind == "torque" else "-J",
                f"0-{array - 1}" + ("" if at_once is None else f"%{at_once}"),
            ]
        if after is not None:
            argv += ["-W", f"depend=afterany:{after}"]
        # What a qsub puts into the present folder, whatever the script says, is to lie beside the script.
        job = ask([*argv, str(script.absolute())], where=script.absolute().parent).strip()
        if not job:
            # The torque commands of Slurm tell on standard output what went wrong, and end with 0.
            raise PoolError("qsub gave no id", got="nothing", do="submit the script by hand to see why")
        job = job.splitlines()[-1]
        if array is not None and "[]" not in job:
            self.cancel([job])
            raise PoolError(
                "these qsub and qstat do not tell the elements of an array apart",
                got=f"the id {job} for an array",
                allowed="an id such as 17[].server",
                do="submit the jobs one by one: execution.member.array: false",
            )
        return job

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: one qstat for all."""
        asked = list(ids)
        found: dict[str, JobState] = {}
        for lot in in_lots(asked):
            found |= dict(_parsed(self._told(lot)))
        return of_those_asked(asked, found, {})

    def _told(self, lot: Iterable[str]) -> str:
        try:
            return ask(["qstat", *self._history, "-f", *lot], some_gone=True)
        except PoolError as error:
            if not self._history or not WRONG_WORD.search(str(error.got)):
                raise
            # Torque does not know -x: what has ended is told without it, for a while.
            self._history = []
            return ask(["qstat", "-f", *lot], some_gone=True)

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs, wherever they stand; one that has ended already is fine."""
        for lot in in_lots(list(ids)):
            ask(["qdel", *lot], some_gone=True)


def _parsed(said: str) -> Iterator[tuple[str, JobState]]:
    for block in re.split(r"^Job Id:\s*", said, flags=re.MULTILINE)[1:]:
        job, _, rest = block.partition("\n")
        told = dict(re.findall(r"^\s+(\S+) = (.*)$", rest.replace("\n\t", "\n "), flags=re.MULTILINE))
        yield job.strip(), _state(told)


def _state(told: Mapping[str, str]) -> JobState:
    letter, host = told.get("job_state", "")[:1], told.get("exec_host", "")
    if letter in WAITING:
        return JobState("pending", told.get("comment", ""))
    if letter in RUNNING:
        return JobState("running", host=host)
    return JobState("ended", _reason(told), host)


def _reason(told: Mapping[str, str]) -> str:
    text = told.get("Exit_status", told.get("exit_status", ""))
    if not re.fullmatch(r"-?\d+", text):
        return ""
    code = int(text)
    if code == 0:
        return COMPLETED
    if "walltime" in told.get("comment", "").lower():
        return TIMEOUT
    return "" if code >= BY_A_SIGNAL else KILLED_PRO.get(code, FAILED)
