"""OAR and Moab, by the commands that their manuals give."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from daflow.errors import CombinationError, PoolError
from daflow.execution.queues.commands import ask
from daflow.execution.queues.job_states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PREEMPTED,
    TIMEOUT,
    UNKNOWN,
    JobState,
)

OAR_WAITING: Final = frozenset({"Waiting", "Hold", "toLaunch", "toAckReservation", "Launching"})
OAR_ENDED: Final = frozenset({"Terminated", "Error"})
MOAB_WAITING: Final = frozenset(
    {"Idle", "Deferred", "Hold", "BatchHold", "SystemHold", "UserHold", "NotQueued", "Blocked", "Staging"}
)
MOAB_ENDS: Final[Mapping[str, str]] = {
    "Completed": COMPLETED,
    "Removed": CANCELLED,
    "Cancelled": CANCELLED,
    "Vacated": PREEMPTED,
}


def _no_arrays(array: int | None, at_once: int | None) -> None:
    if array is not None or at_once is not None:
        raise CombinationError(
            "daflow submits no arrays of jobs to OAR and Moab",
            got=f"{array} elements",
            allowed="jobs one by one",
            do="execution.member.array: false",
        )


class Oar:
    """OAR: oarsub, oarstat, oardel."""

    kind: Final = "oar"
    index: Final = "0"
    has_arrays: Final = False

    def element(self, array: str, index: int) -> str:
        """Return the id of an element: there are no arrays here."""
        raise CombinationError("daflow submits no arrays of jobs to OAR", got=f"element {index} of {array}")

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script, whose lines ``#OAR`` count; return the id of the job."""
        _no_arrays(array, at_once)
        script.chmod(0o755)  # OAR runs it where it lies
        argv = ["oarsub", *([] if after is None else ["-a", after]), "-S", str(script)]
        said = ask(argv)
        found = re.search(r"OAR_JOB_ID=(\d+)", said)
        if found is None:
            raise PoolError("oarsub gave no id", got=said.strip(), do="submit the script by hand to see why")
        return found[1]

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: a question each, for oarstat has no other."""
        return {job: self._state(job) for job in ids}

    def _state(self, job: str) -> JobState:
        said = ask(["oarstat", "-J", "-f", "-j", job], some_gone=True)
        told: Any = None
        with suppress(ValueError):
            told = json.loads(said)
        about = told.get(job) if isinstance(told, dict) else None
        if not isinstance(about, dict):
            return UNKNOWN
        word, why = str(about.get("state", "")), str(about.get("message") or "")
        if word in OAR_WAITING:
            return JobState("pending", why)
        hosts = ",".join(map(str, about.get("assigned_network_address") or ()))
        if word not in OAR_ENDED:
            return JobState("running", "", hosts)
        return JobState("ended", _oar_reason(word, about), hosts)

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs; one that has ended already is fine."""
        jobs = list(ids)
        if jobs:
            ask(["oardel", *jobs], some_gone=True)


def _oar_reason(word: str, about: Mapping[str, Any]) -> str:
    """Return why a job ended, by its events and its exit code."""
    events = json.dumps(about.get("events") or "")
    for sign, reason in {"WALLTIME": TIMEOUT, "FRAG_JOB_REQUEST": CANCELLED, "BESTEFFORT": PREEMPTED}.items():
        if sign in events:
            return reason
    if word == "Terminated" and not about.get("exit_code"):
        return COMPLETED
    return FAILED


class Moab:
    """Moab: msub, checkjob, canceljob."""

    kind: Final = "moab"
    index: Final = "0"
    has_arrays: Final = False

    def element(self, array: str, index: int) -> str:
        """Return the id of an element: there are no arrays here."""
        raise CombinationError("daflow submits no arrays of jobs to Moab", got=f"element {index} of {array}")

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script; return the id of the job."""
        _no_arrays(array, at_once)
        said = ask(["msub", *([] if after is None else ["-l", f"depend=afterany:{after}"]), str(script)])
        job = said.strip()
        if not job or any(letter.isspace() for letter in job):
            raise PoolError("msub gave no id", got=job, do="submit the script by hand to see why")
        return job

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: a question each."""
        return {job: self._state(job) for job in ids}

    def _state(self, job: str) -> JobState:
        said = ask(["checkjob", job], some_gone=True)
        found = re.search(r"^State:\s*(\w+)", said, re.MULTILINE)
        if found is None:
            return UNKNOWN
        word = found[1]
        host = re.search(r"^\[([^:\]]+)", said, re.MULTILINE)
        if word in MOAB_WAITING:
            return JobState("pending", "" if word == "Idle" else word)
        where = host[1] if host else ""
        if word not in MOAB_ENDS:
            return JobState("running", "", where)
        code = re.search(r"Completion Code:\s*(-?\d+)", said)
        failed = word == "Completed" and code is not None and code[1] != "0"
        return JobState("ended", FAILED if failed else MOAB_ENDS[word], where)

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs; one that has ended already is fine."""
        for job in ids:
            ask(["canceljob", job], some_gone=True)
