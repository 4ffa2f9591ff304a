"""The driver of a run as a job of a queue: what it asks for, and its script."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from daflow.assemble.driving.chain import SCRIPT, submit_driver, waiting_drivers
from daflow.assemble.driving.detached import LOG
from daflow.assemble.driving.ordered import ordered
from daflow.assemble.driving.sessions import MARGIN, MODE, SYSTEM, left_to_drive
from daflow.assemble.folder import RunFolder
from daflow.config.clusters import QueueExecution
from daflow.config.execution import LocalExecution
from daflow.config.schema import Workflow
from daflow.errors import CombinationError, ConfigError, DataError, LeaseError
from daflow.execution.member_jobs.scripts import HEADS, JobNeeds, folder_of_output, job_script
from daflow.runs.checked_orders import word
from daflow.runs.facts import fold
from daflow.runs.journal import last_fact, read_journal
from daflow.runs.lease import read_holder
from daflow.runs.orders import NONE, Orders
from daflow.storage.files import make_folder, write_durably

SYSTEMS: Final = tuple(kind for kind in HEADS if kind != "torque")
"""Queues that a driver can be a job of; torque is a dialect of pbs."""
OWN_MEMORY: Final = 2 * 10**9
"""What the driver asks for itself, bytes."""
DEFAULT_SECONDS: Final = 4 * 3600
"""The walltime where nothing says another one."""


@dataclass(frozen=True, slots=True)
class DriverJob:
    """How the driver of a run is submitted."""

    system: str
    dialect: str
    """Of the script's head: the system, or ``torque``."""
    needs: JobNeeds
    margin: float | None
    """Seconds before the end of its job at which it lays the run down; ``None``: by `left_to_drive`."""
    chain: bool
    orders: Orders = NONE
    """What the operator asks for."""


def driver_job(
    workflow: Workflow,
    *,
    system: str | None = None,
    seconds: int | None = None,
    margin: float | None = None,
    directives: Sequence[str] = (),
    chain: bool = False,
) -> DriverJob:
    """Return how the driver of a run of this workflow is submitted.

    With workers that are jobs themselves the driver takes a core, in the same queue and on the same account,
    after the same prologue; the directives of their jobs are not its own: it needs no node for itself. With
    workers on its own machine it asks for their cores and memory, too.

    Parameters
    ----------
    workflow
        What is run, its section ``execution`` by a profile or not.
    system
        The queue; ``None``: that of the workers.
    seconds
        The walltime; ``None``: that of the workers' jobs, or four hours.
    margin, chain
        See `DriverJob`.
    directives
        More lines for the head of the script.

    Raises
    ------
    daflow.errors.ConfigError
        The workflow does not say which queue, and nobody else does; or the margin leaves no time.
    daflow.errors.CombinationError
        The driver cannot be a job of this queue.
    """
    execution = workflow.execution
    of_workers = execution if isinstance(execution, QueueExecution) else None
    kind = system or getattr(of_workers, "kind", None)
    if kind is None:
        raise ConfigError(
            "nothing says which queue the driver is to be submitted to",
            got=f"execution.kind: {execution.kind}",
            allowed=f"a profile of a queue, or --system: {', '.join(SYSTEMS)}",
            do="name one: --profile slurm, or --system slurm --directive=--partition=long",
        )
    if kind not in SYSTEMS:
        raise CombinationError(
            f"a driver cannot be submitted to {kind}",
            got=f"--system {kind}" if system else f"execution.kind: {kind}",
            allowed=", ".join(SYSTEMS),
            do="run the driver on a login node: `daflow run ... --detach`, or in a job script of your own",
        )
    alike = of_workers if getattr(of_workers, "kind", None) == kind else None
    walltime = seconds or (alike.seconds if alike is not None else None) or DEFAULT_SECONDS
    if left_to_drive(walltime, margin) <= 0:
        raise ConfigError(
            "--margin: there is no time left to drive the run", got=margin, allowed=f"less than {walltime} s"
        )
    cores, memory = _size(workflow)
    if kind == "sge" and cores > 1 and not any(line.startswith("-pe ") for line in directives):
        raise CombinationError(
            f"a job of {cores} cores of Grid Engine needs a parallel environment",
            allowed="`qconf -spl` lists those that there are",
            do=f"name it: --directive='-pe smp {cores}'",
        )
    needs = JobNeeds(
        name=f"daflow-driver-{re.sub(r'[^A-Za-z0-9_.-]+', '-', workflow.name)[:40]}",
        nodes=1,
        tasks=1,
        cores=cores,
        memory=memory,
        seconds=walltime,
        queue=None if alike is None else getattr(alike, "queue", None),
        account=None if alike is None else alike.account,
        directives=tuple(directives),
        prologue=() if alike is None else alike.prologue,
    )
    dialect = "torque" if getattr(alike, "dialect", "") == "torque" else kind
    return DriverJob(kind, dialect, needs, margin, chain)


def _size(workflow: Workflow) -> tuple[int, int]:
    execution = workflow.execution
    if isinstance(execution, LocalExecution):
        return execution.workers * execution.threads, execution.workers * execution.memory_bytes + OWN_MEMORY
    return 1, OWN_MEMORY


def script_of(folder: Path, job: DriverJob) -> str:
    """Return the script of a driver."""
    said = {MODE: "job", SYSTEM: job.system} | ({} if job.margin is None else {MARGIN: f"{job.margin:g}"})
    needs = job.needs
    prologue = (
        f"exec >> {shlex.quote(str(folder / LOG))} 2>&1",
        *(f"export {name}={value}" for name, value in said.items()),
        *needs.prologue,
    )
    words = [sys.executable, "-m", "daflow.cli", "drive", str(folder), *(["--chain"] if job.chain else [])]
    words += _words_of(job.orders)
    output = str(folder_of_output(folder) / "driver.out")
    return job_script(job.dialect, replace(needs, prologue=prologue), output, shlex.join(words))


def _words_of(orders: Orders) -> list[str]:
    """Return the options of the command line that ask for this."""
    retry = [*map(word, sorted(orders.retry)), *map(str, sorted(orders.members))]
    words = ["--retry", ",".join(retry)] if retry else []
    if orders.drop:
        words += ["--drop", ",".join(map(str, sorted(orders.drop)))]
    return words if orders.min_members is None else [*words, "--min-members", str(orders.min_members)]


def submit(run: RunFolder, job: DriverJob) -> str:
    """Write the script of a run's driver and submit it; return the job's id.

    Raises
    ------
    daflow.errors.DataError
        The run is finished, or what is asked for cannot be had where it stands.
    daflow.errors.LeaseError
        The run is driven, or a job that is to drive it waits already.
    daflow.errors.PoolError
        The queue refuses.
    """
    last = last_fact(run.journal) if run.journal.exists() else None
    if last is not None and last.get("kind") == "finished":
        raise DataError(
            f"the run in {run.folder} is finished: there is nothing to drive",
            do=f"`daflow report {run.folder}` writes a page about it; another --run makes another one",
        )
    holder = read_holder(run.lease)
    waiting = waiting_drivers(run.folder)
    if waiting or (holder is not None and holder.alive()):
        raise LeaseError(
            f"the run in {run.folder} has a driver already, or is to have one",
            got=f"job {', '.join(waiting)}" if waiting or holder is None else holder.told(),
            allowed="one driver a run",
            do=f"watch it with `daflow attach {run.folder}`, end it with `daflow stop {run.folder}`",
        )
    if job.orders:
        ordered(run, fold(read_journal(run.journal)), job.orders)
    make_folder(folder_of_output(run.folder))
    write_durably(run.folder / SCRIPT, script_of(run.folder, job).encode())
    return submit_driver(run.folder, job.system)
