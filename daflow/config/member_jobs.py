"""Section ``execution.member``: what each forecast of a member takes, and who runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from daflow.config.amounts import Memory, Walltime, bytes_of, seconds_of
from daflow.config.section import Section

Line = Annotated[str, Field(pattern=r"^[^\n]+$", description="One line of text.")]


def _as_a_tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


# A list is no tuple to a section that has passed through Python on its way from a file.
Lines = Annotated[tuple[Line, ...], BeforeValidator(_as_a_tuple)]


class WorkerMember(Section):
    """Workers run the forecasts of members, each only as many at once as its cores and memory carry."""

    kind: Literal["worker"] = Field(default="worker", description="Workers run them, and all other tasks.")
    cores: int | None = Field(
        default=None,
        ge=1,
        description="Cores that a forecast keeps busy: a worker runs only as many at once as it has cores "
        "for. A command model is told: {cores}, OMP_NUM_THREADS. null: nobody counts them.",
    )
    memory: Memory | None = Field(
        default=None,
        description="Memory that a forecast takes, programs that it starts included; a worker runs only as "
        "many at once as it has memory for. null: nobody counts it.",
    )

    @property
    def memory_bytes(self) -> int | None:
        """What a forecast takes, in bytes."""
        return None if self.memory is None else bytes_of(self.memory)


class JobMember(Section):
    """Each forecast of a member is a batch job of its own, on one node or several; workers do all else."""

    kind: Literal["job"] = Field(default="job", description="Each forecast is a batch job of its own.")
    system: Literal["slurm", "pbs", "torque", "lsf", "sge"] | None = Field(
        default=None,
        description="The batch system: Slurm, PBS Pro or OpenPBS, Torque, LSF, Grid Engine. null: that of "
        "execution.kind.",
    )
    nodes: int = Field(default=1, ge=1, description="How many nodes each member gets.")
    tasks: int = Field(
        default=1, ge=1, description="How many processes (MPI ranks) each member has, on all its nodes."
    )
    cores: int = Field(default=1, ge=1, description="Cores for each of these processes: OMP_NUM_THREADS.")
    memory: Memory = Field(
        default="2GB", description="Memory on each node: a number and B, kB, MB, GB, MiB, GiB..."
    )
    walltime: Walltime = Field(
        default="01:00:00",
        description="How long each attempt may take, HH:MM:SS or D-HH:MM:SS: the queue ends it then, and it "
        "has timed out.",
    )
    queue: str | None = Field(
        default=None, min_length=1, description="The queue (Slurm: partition); null: the one it takes."
    )
    account: str | None = Field(default=None, min_length=1, description="The account that pays; null: yours.")
    directives: Lines = Field(
        default=(),
        description="More lines for the head of the job script, without the system's own sign before them: "
        "['--exclusive'] with Slurm, ['-l place=scatter'] with PBS.",
    )
    prologue: Lines = Field(
        default=(), description="Shell commands that run before the member: module load openmpi..."
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description="The Python that jobs run by, with the same daflow in it; null: the driver's own path.",
    )
    launcher: str | None = Field(
        default=None,
        min_length=1,
        description="Words before the command of a command model: 'srun', 'mpirun -n {tasks}'. {tasks}, "
        "{nodes} and {cores} are filled in. null: none, the command starts its processes itself.",
    )
    at_once: int = Field(default=50, ge=1, description="How many members' jobs may run at the same time.")
    array: bool = Field(
        default=True,
        description="Submit the members of a step as one job array, throttled to at_once; false: one by one, "
        "for systems or queues without arrays.",
    )
    when_stopped: Literal["cancel", "keep"] = Field(
        default="cancel",
        description="What becomes of jobs that are in the queue when the driver stops before the run's end. "
        "cancel: they are ended; keep: they go on, and the next driver takes them up. Those of a driver that "
        "was killed go on in any case.",
    )

    @property
    def memory_bytes(self) -> int:
        """The memory on each node, in bytes."""
        return bytes_of(self.memory) or 0

    @property
    def seconds(self) -> int:
        """How long each attempt may take."""
        return seconds_of(self.walltime) or 0


def _with_a_kind(given: Any) -> Any:
    """Return a mapping without a kind as one of a worker's."""
    return {"kind": "worker", **given} if isinstance(given, Mapping) and "kind" not in given else given


MemberSettings = Annotated[
    Annotated[WorkerMember | JobMember, Field(discriminator="kind")], BeforeValidator(_with_a_kind)
]
"""``{cores: 4}`` alone is of kind worker."""
