"""Sections ``execution`` of batch systems: workers that run as jobs of a queue, through dask-jobqueue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from daflow.config.jobqueue_keywords import of_options
from daflow.config.member_jobs import Line
from daflow.config.section import InputPath, Positive, Problem, Section
from daflow.config.workers import Memory, Silence, Walltime, WorkersSection, bytes_of, seconds_of


class AdaptiveSettings(Section):
    """How few and how many jobs there may be, where their number follows what waits to be done."""

    minimum: int = Field(default=1, ge=0, description="The fewest jobs, also while nothing waits.")
    maximum: int = Field(ge=1, description="The most jobs.")
    idle: float = Field(
        default=120.0,
        ge=0,
        description="Seconds that a worker may be without anything to do before its job is given back.",
    )


class ContainerSettings(Section):
    """The image that workers run in."""

    image: str = Field(
        min_length=1, description="The image: a path, or docker://...; it has daflow and Python in it."
    )
    run: str = Field(
        default="apptainer exec --bind {folder}",
        min_length=1,
        description="The words before the image; {folder} stands for the run's folder, which the worker has "
        "to see under the same path. With docker: docker run --rm --network host --user 1000 -v "
        "{folder}:{folder} -e DAFLOW_JOB_END. What a workflow names beside the run has to be bound as well.",
    )


class QueueExecution(WorkersSection):
    """What the sections of all batch systems have in common."""

    jobs: int = Field(
        default=2,
        ge=1,
        description="How many jobs run workers. One that ends before the run does is replaced by a new one.",
    )
    adaptive: AdaptiveSettings | None = Field(
        default=None,
        description="Let the number of jobs follow what waits to be done: {minimum: 1, maximum: 20}, from "
        "'jobs' on. null: always 'jobs'. Its dangers: a job that is given back between two stages goes to "
        "the end of the queue for the next, and every update waits for the slowest member alone: on a full "
        "machine a run takes longer, and no allocation is saved that the stragglers did not hold.",
    )
    cores: int = Field(default=1, ge=1, description="Cores that each job asks for.")
    memory: Memory = Field(
        default="2GB",
        description="Memory that each job asks for, shared by its processes: a number and MB, GB, GiB...",
    )
    processes: int = Field(
        default=1, ge=1, description="Worker processes a job; each has its part of memory."
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="How many tasks each process runs at once. Models that are programs of their own may "
        "well share a process; those in Python hold each other up there: give them processes.",
    )
    margin: Positive = Field(
        default=60.0,
        description="Seconds before its walltime that a worker goes. It begins no member that would not be "
        "done by then, going by how long others took; one under way all the same runs again elsewhere.",
    )
    silence: Silence = 300.0
    account: str | None = Field(
        default=None,
        min_length=1,
        description="The account or project that pays; null: the system's default.",
    )
    interface: str | None = Field(
        default=None,
        min_length=1,
        description="The network by which driver and workers talk: ib0, eth0... (`ip address` lists them); "
        "null: the one that leads out of this host, which clusters often close between their nodes.",
    )
    scratch: Line = Field(
        default="${TMPDIR:-/tmp}",
        description="Where workers put small files of their own, on the node's disk: a path, in which a "
        "shell on the node fills in variables.",
    )
    directives: tuple[Line, ...] = Field(
        default=(),
        description="More lines for the head of the job script, without the system's own sign before them: "
        "['--exclusive', '--constraint=haswell'] with Slurm. Of HTCondor: ['name = value'].",
    )
    prologue: tuple[Line, ...] = Field(
        default=(),
        description="Shell commands that run on the node before the worker: module load, source activate...",
    )
    container: ContainerSettings | None = Field(
        default=None, description="The image that workers run in; null: the node itself."
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description="The Python that workers run by, with the same daflow in it; null: the driver's own "
        "path, or python3 in a container.",
    )
    logs: InputPath | None = Field(
        default=None, description="The folder for what jobs print; null: logs/jobs in the run's folder."
    )
    encryption: Literal["none", "tls"] = Field(
        default="none",
        description="tls: driver and workers talk by certificates made for this run (package cryptography). "
        "none: whoever reaches the driver's port on the cluster's network can run programs as you.",
    )
    patience: Positive = Field(
        default=1800.0,
        description="Seconds that the run waits, without a single worker and with no job in the queue, while "
        "the system takes no jobs (a limit is reached, it does not answer); then it is laid down.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="More keywords for the class of dask-jobqueue, as its documentation has them, for what "
        "no key here says: {worker_extra_args: [...]}.",
    )

    @property
    def memory_bytes(self) -> int:
        """The memory of a job, in bytes."""
        return bytes_of(self.memory) or 0

    @property
    def slots_a_job(self) -> int:
        """How many tasks a job runs at once."""
        return self.processes * self.threads

    @property
    def seconds(self) -> int | None:
        """How long a job may take; ``None``: as long as it likes."""
        walltime: str | None = getattr(self, "walltime", None)
        return None if walltime is None else seconds_of(walltime)

    def _problems(self) -> Iterator[Problem]:
        yield from of_options(getattr(self, "kind", ""), self.options)
        if self.slots_a_job > self.cores:
            what = f"{self.processes} processes of {self.threads} threads would share fewer cores"
            yield Problem("cores", what, self.cores, f"at least {self.slots_a_job}")
        if self.seconds is not None and self.margin >= self.seconds:
            what = "a worker would go before it has begun: the margin is as long as the walltime"
            yield Problem("margin", what, self.margin, f"less than {self.seconds} s")
        adaptive = self.adaptive
        if adaptive is not None and not adaptive.minimum <= self.jobs <= adaptive.maximum:
            allowed = f"{adaptive.minimum} to {adaptive.maximum}, by adaptive"
            yield Problem("jobs", "more or fewer than there may be", self.jobs, allowed)


class TimedQueue(QueueExecution):
    """What those have in common whose jobs go to a queue, and always have an end."""

    queue: str | None = Field(
        default=None,
        min_length=1,
        description="The queue (Slurm: partition) that jobs go to; null: the one that the system takes.",
    )
    walltime: Walltime = Field(
        default="01:00:00", description="How long each job may take: HH:MM:SS or D-HH:MM:SS, as 12:00:00."
    )


class SlurmExecution(TimedQueue):
    """Workers as jobs of Slurm."""

    kind: Literal["slurm"] = Field(default="slurm", description="Jobs of Slurm (sbatch).")


class PbsExecution(TimedQueue):
    """Workers as jobs of PBS."""

    kind: Literal["pbs"] = Field(default="pbs", description="Jobs of PBS Pro, OpenPBS or Torque (qsub).")
    dialect: Literal["pro", "torque"] = Field(
        default="pro",
        description="How cores and memory are asked for. pro: select=1:ncpus=4:mem=8GB; torque: "
        "nodes=1:ppn=4,mem=8GB.",
    )


class LsfExecution(TimedQueue):
    """Workers as jobs of LSF."""

    kind: Literal["lsf"] = Field(default="lsf", description="Jobs of IBM Spectrum LSF (bsub).")


class SgeExecution(TimedQueue):
    """Workers as jobs of Grid Engine."""

    kind: Literal["sge"] = Field(default="sge", description="Jobs of SGE and other Grid Engines (qsub).")
    parallel_environment: str | None = Field(
        default=None,
        min_length=1,
        description="The parallel environment that gives several cores of one node, often smp (`qconf -spl` "
        "lists them): jobs of more than one core need it.",
    )
    memory_resource: str | None = Field(
        default="mem_free",
        min_length=1,
        description="The resource by which memory is asked for, a core: mem_free, h_vmem; null: not asked.",
    )

    def _problems(self) -> Iterator[Problem]:
        yield from super()._problems()
        if self.cores > 1 and self.parallel_environment is None:
            what = "jobs of several cores need the name of a parallel environment"
            yield Problem("parallel_environment", what, None, "often smp; `qconf -spl` lists them")


class OarExecution(TimedQueue):
    """Workers as jobs of OAR."""

    kind: Literal["oar"] = Field(default="oar", description="Jobs of OAR (oarsub).")
    memory_property: str | None = Field(
        default=None,
        min_length=1,
        description="The property of a core's memory in MiB by which it is asked for, often memcore "
        "(`oarnodes` lists them); null: jobs get what comes with their cores.",
    )


class HtcondorExecution(QueueExecution):
    """Workers as jobs of HTCondor."""

    kind: Literal["htcondor"] = Field(default="htcondor", description="Jobs of HTCondor (condor_submit).")
    disk: Memory = Field(default="1GB", description="Disk on the node that each job asks for.")
    walltime: Walltime | None = Field(
        default=None,
        description="How long each job may take: HH:MM:SS or D-HH:MM:SS; it is removed then. null: any time.",
    )

    def _problems(self) -> Iterator[Problem]:
        yield from super()._problems()
        for line in self.directives:
            if not line.partition("=")[2].strip():
                yield Problem("directives", "has no value", line, "name = value")


class MoabExecution(TimedQueue):
    """Workers as jobs of Moab."""

    kind: Literal["moab"] = Field(default="moab", description="Jobs of Moab over Torque (msub).")
