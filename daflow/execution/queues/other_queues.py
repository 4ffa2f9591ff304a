"""LSF, Grid Engine and HTCondor, by the commands that their manuals give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Final

from daflow.errors import CombinationError, PoolError
from daflow.execution.queues.commands import ask, in_lots
from daflow.execution.queues.job_states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NODE_FAIL,
    OUT_OF_MEMORY,
    PREEMPTED,
    TIMEOUT,
    JobState,
    of_those_asked,
)

LSF_TERMS: Final[Mapping[str, str]] = {
    "TERM_RUNLIMIT": TIMEOUT,
    "TERM_DEADLINE": TIMEOUT,
    "TERM_WINDOW": TIMEOUT,
    "TERM_MEMLIMIT": OUT_OF_MEMORY,
    "TERM_SWAP": OUT_OF_MEMORY,
    "TERM_PREEMPT": PREEMPTED,
    "TERM_RC": PREEMPTED,
    "TERM_ZOMBIE": NODE_FAIL,
    "TERM_REMOVE_HUNG_JOB": NODE_FAIL,
    "TERM_OWNER": CANCELLED,
    "TERM_ADMIN": CANCELLED,
    "TERM_FORCE_OWNER": CANCELLED,
    "TERM_FORCE_ADMIN": CANCELLED,
    "TERM_BUCKET_KILL": CANCELLED,
}
"""Why LSF ended a job, as bjobs tells it."""


class Lsf:
    """LSF: bsub, bjobs, bkill."""

    kind: Final = "lsf"
    index: Final = "$((LSB_JOBINDEX - 1))"  # arrays of LSF begin at 1
    has_arrays: Final = True

    def element(self, array: str, index: int) -> str:
        """Return the id of an element of an array, as bjobs and bkill take it."""
        return f"{array}[{index + 1}]"

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script; return the id of the job."""
        argv = ["bsub"]
        if array is not None:
            argv += ["-J", f"daflow-{script.stem}[1-{array}]" + ("" if at_once is None else f"%{at_once}")]
        if after is not None:
            argv += ["-w", f"ended({after})"]
        said = ask(argv, stdin=script)
        found = re.search(r"Job <(\d+)>", said)
        if found is None:
            raise PoolError("bsub gave no id", got=said.strip(), do="submit the script by hand to see why")
        return found[1]

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: one bjobs for all."""
        asked, found = list(ids), dict[str, JobState]()
        array_of: dict[str, str] = {}
        arrays = list(dict.fromkeys(job.split("[")[0] for job in asked))
        form = "jobid jobindex stat exec_host exit_reason delimiter='|'"
        for lot in in_lots(arrays):
            said = ask(["bjobs", "-a", "-noheader", "-o", form, *lot], some_gone=True)
            rows = (line.split("|", 4) for line in said.splitlines() if line.count("|") >= 4)
            for array, index, stat, host, why in rows:
                job = f"{array}[{index}]" if index not in {"0", "-"} else array
                found[job], array_of[job] = _lsf_state(stat, host, why), array
        return of_those_asked(asked, found, array_of)

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs, wherever they stand; one that has ended already is fine."""
        for lot in in_lots(list(ids)):
            ask(["bkill", *lot], some_gone=True)


def _lsf_state(stat: str, host: str, why: str) -> JobState:
    host = "" if host == "-" else host
    if stat in {"PEND", "PSUSP", "WAIT"}:
        return JobState("pending")
    if stat in {"RUN", "USUSP", "SSUSP", "PROV", "UNKWN"}:
        return JobState("running", host=host)
    if stat == "DONE":
        return JobState("ended", COMPLETED, host)
    if stat == "EXIT":
        return JobState("ended", LSF_TERMS.get(why.split(":", maxsplit=1)[0].strip(), FAILED), host)
    return JobState("ended" if stat == "ZOMBI" else "unknown", NODE_FAIL if stat == "ZOMBI" else "", host)


class GridEngine:
    """Grid Engine (SGE and its children): qsub, qstat, qdel.

    What has ended is not told by qstat: it is ``unknown`` from then on.
    """

    kind: Final = "sge"
    index: Final = "$((SGE_TASK_ID - 1))"  # its arrays begin at 1
    has_arrays: Final = True

    def element(self, array: str, index: int) -> str:
        """Return the id of an element of an array."""
        return f"{array}.{index + 1}"

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a script; return the id of the job."""
        argv = ["qsub", "-terse"]
        if array is not None:
            argv += ["-t", f"1-{array}"] + ([] if at_once is None else ["-tc", str(at_once)])
        if after is not None:
            argv += ["-hold_jid", after]
        # "17" or, of an array, "17.1-20:1"
        return ask([*argv, str(script)]).strip().splitlines()[-1].split(".")[0]

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: one qstat of all that the user has; -g d tells elements one by one."""
        found: dict[str, JobState] = {}
        array_of: dict[str, str] = {}
        for line in ask(["qstat", "-g", "d"]).splitlines():
            row = line.split()
            if not row or not row[0].isdigit() or len(row) < 8:
                continue
            letters = row[4]
            waiting = "q" in letters or "w" in letters or "h" in letters
            # A line has a queue instance while it runs; an element's number comes last.
            n_before = 8 if waiting else 9
            job = f"{row[0]}.{row[-1]}" if len(row) > n_before else row[0]
            host = "" if waiting else row[7].partition("@")[2]
            found[job], array_of[job] = JobState("pending" if waiting else "running", host=host), row[0]
        return of_those_asked(list(ids), found, array_of)

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs, wherever they stand; one that has ended already is fine."""
        asked = list(ids)
        whole = [job for job in asked if "." not in job]
        for lot in in_lots(whole):
            ask(["qdel", *lot], some_gone=True)
        # qdel(1) has elements by -t alone; the id with a point is what qstat shows.
        for array, first, last in _runs(job.split(".") for job in asked if "." in job):
            ask(["qdel", array, "-t", first if first == last else f"{first}-{last}"], some_gone=True)


def _runs(elements: Iterable[Sequence[str]]) -> Iterator[tuple[str, str, str]]:
    """Yield arrays with the first and the last of neighbouring elements."""
    numbered = sorted({(array, int(index)) for array, index in elements})
    for (array, _), some in groupby(enumerate(numbered), lambda one: (one[1][0], one[1][1] - one[0])):
        indices = [index for _, (_, index) in some]
        yield array, str(indices[0]), str(indices[-1])


CONDOR_PHASES: Final = {1: "pending", 2: "running", 5: "pending", 6: "running", 7: "running"}


class HtCondor:
    """HTCondor: condor_submit with a description, condor_q, condor_history, condor_rm."""

    kind: Final = "htcondor"
    index: Final = "$DAFLOW_JOB_INDEX"
    has_arrays: Final = True

    def element(self, array: str, index: int) -> str:
        """Return the id of an element of an array."""
        return f"{array}.{index}"

    def submit(
        self, script: Path, *, array: int | None = None, at_once: int | None = None, after: str | None = None
    ) -> str:
        """Submit a description; return the id of the cluster of jobs.

        Raises
        ------
        daflow.errors.CombinationError
            ``after`` was asked for: it takes DAGMan.
        daflow.errors.PoolError
            The queue refuses.
        """
        if after is not None:
            raise CombinationError(
                "HTCondor cannot start a job after another one by itself",
                got=f"after job {after}",
                do="submit it when the other one has ended",
            )
        argv = ["condor_submit", "-terse", str(script)]
        if at_once is not None:
            argv += ["-append", f"max_materialize = {at_once}"]
        said = ask([*argv, "-queue", str(array or 1)])
        found = re.search(r"(\d+)\.\d+", said)
        if found is None:
            raise PoolError("condor_submit gave no id", got=said.strip(), do="submit it by hand to see why")
        return found[1]

    def states(self, ids: Iterable[str]) -> Mapping[str, JobState]:
        """Return where jobs stand: one condor_q for all, condor_history for those that left the queue."""
        asked = list(ids)
        clusters = list(dict.fromkeys(job.split(".")[0] for job in asked))
        found: dict[str, JobState] = {}
        for lot in in_lots(clusters):
            found |= self._told("condor_q", lot)
        known = set(found)
        left = [job for job in asked if job not in known and job not in {k.split(".")[0] for k in known}]
        with suppress(PoolError):
            for lot in in_lots(list(dict.fromkeys(job.split(".")[0] for job in left))):
                found = self._told("condor_history", lot) | found
        return of_those_asked(asked, found, {job: job.split(".")[0] for job in found})

    def _told(self, command: str, clusters: Sequence[str]) -> dict[str, JobState]:
        fields = ("ClusterId", "ProcId", "JobStatus", "ExitCode", "RemoteHost", "RemoveReason")
        said = ask([command, *clusters, "-af:,", *fields])
        rows = (re.split(r",\s*", line.strip(), maxsplit=5) for line in said.splitlines())
        return {f"{row[0]}.{row[1]}": _condor_state(row[2:]) for row in rows if len(row) == len(fields)}

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs, wherever they stand; one that has ended already is fine."""
        for lot in in_lots(list(ids)):
            ask(["condor_rm", *lot], some_gone=True)


def _condor_state(row: Sequence[str]) -> JobState:
    status, code, host, why = row
    host = "" if host == "undefined" else host.rpartition("@")[2]
    number = int(status) if status.isdigit() else 0
    if number in {1, 5}:
        return JobState("pending", "held" if number == 5 else "")
    if number in CONDOR_PHASES:
        return JobState("running", host=host)
    if number == 3:
        return JobState("ended", TIMEOUT if "AllowedJobDuration" in why else CANCELLED, host)
    return JobState("ended", COMPLETED if code == "0" else FAILED, host)
