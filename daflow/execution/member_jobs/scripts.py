"""Scripts of jobs that are no workers: what stands in their heads, in each queue's own words."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daflow.execution.clusters.queue_scripts import avoiding

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class JobNeeds:
    """What a job asks a queue for, and what it does first."""

    name: str
    """Begins with ``daflow-``."""
    nodes: int
    tasks: int
    """Processes, on all nodes together: a multiple of ``nodes``."""
    cores: int
    """For each of them."""
    memory: int
    """On each node, bytes."""
    seconds: int
    """Walltime."""
    queue: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()

    @property
    def tasks_a_node(self) -> int:
        """How many processes each node has."""
        return self.tasks // self.nodes


def job_script(kind: str, needs: JobNeeds, output: str, command: str, avoided: Collection[str] = ()) -> str:
    """Return the script of a job.

    Parameters
    ----------
    kind
        The batch system.
    needs
        What the job asks for.
    output
        The file for what it prints; see `OUTPUT` for the number of an array's element in it.
    command
        What it does in the end, for a shell.
    avoided
        Hosts that it should not run on, where the queue has a word for that.
    """
    sign, words = HEADS[kind]
    lines = avoiding(kind, [*words(needs, output), *needs.directives], avoided)
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"{sign} {line}" for line in lines),
            f"export DAFLOW_JOB_END=$(( $(date +%s) + {needs.seconds} ))",
            *ON_NODE.get(kind, ()),
            *needs.prologue,
            f"exec {command}",
            "",
        ]
    )


OUTPUT: Final[Mapping[str, str]] = {"slurm": "%a", "lsf": "%I", "sge": "$TASK_ID", "pbs": "^array_index^"}
"""Queue -> what stands in the name of an output file for the number of an array's element, in its count."""
ON_NODE: Final[Mapping[str, tuple[str, ...]]] = {
    # srun does not take this from the job any more since 22.05; before, it is not looked at.
    "slurm": ('export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',),
}


def _hours(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _mebibytes(memory: int) -> int:
    return math.ceil(memory / MEBIBYTE)


def _given(words: Mapping[str, str | None]) -> list[str]:
    return [f"{word}{value}" for word, value in words.items() if value is not None]


def _slurm(needs: JobNeeds, output: str) -> list[str]:
    return [
        f"--job-name={needs.name}",
        f"--output={output}",
        "--open-mode=append",
        f"--nodes={needs.nodes}",
        f"--ntasks={needs.tasks}",
        f"--cpus-per-task={needs.cores}",
        f"--mem={_mebibytes(needs.memory)}M",
        f"--time={_slurm_time(needs.seconds)}",
        *_given({"--partition=": needs.queue, "--account=": needs.account}),
    ]


def _slurm_time(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    return f"{days}-{_hours(rest)}" if days else _hours(rest)


def _pbs_words(needs: JobNeeds, output: str) -> list[str]:
    return [
        f"-N {needs.name}",
        "-j oe",
        f"-o {output}",
        f"-l walltime={_hours(needs.seconds)}",
        *_given({"-q ": needs.queue, "-A ": needs.account}),
    ]


def _pbs(needs: JobNeeds, output: str) -> list[str]:
    chunk = f"ncpus={needs.tasks_a_node * needs.cores}:mpiprocs={needs.tasks_a_node}:ompthreads={needs.cores}"
    select = f"-l select={needs.nodes}:{chunk}:mem={_mebibytes(needs.memory)}mb"
    return [*_pbs_words(needs, output), select, *(["-l place=scatter"] if needs.nodes > 1 else [])]


def _torque(needs: JobNeeds, output: str) -> list[str]:
    nodes = f"-l nodes={needs.nodes}:ppn={needs.tasks_a_node * needs.cores}"
    return [*_pbs_words(needs, output), nodes, f"-l mem={_mebibytes(needs.memory * needs.nodes)}mb"]


def _lsf(needs: JobNeeds, output: str) -> list[str]:
    minutes = math.ceil(needs.seconds / 60)
    slots = needs.tasks * needs.cores
    words = [
        f"-J {needs.name}",
        f"-o {output}",
        f"-W {minutes // 60:02d}:{minutes % 60:02d}",
        f"-n {slots}",
        f'-R "span[ptile={slots // needs.nodes}]"',
        f'-R "rusage[mem={_mebibytes(needs.memory)}MB]"',
    ]
    return words + _given({"-q ": needs.queue, "-P ": needs.account})


def _sge(needs: JobNeeds, output: str) -> list[str]:
    # Several cores take a parallel environment, whose name only the site knows: a directive, '-pe mpi 8'.
    return [
        f"-N {needs.name}",
        "-j y",
        "-S /bin/bash",
        f"-o {output}",
        f"-l h_rt={needs.seconds}",
        *_given({"-q ": needs.queue, "-P ": needs.account}),
    ]


Head = Callable[[JobNeeds, str], list[str]]
HEADS: Final[Mapping[str, tuple[str, Head]]] = {
    "slurm": ("#SBATCH", _slurm),
    "pbs": ("#PBS", _pbs),
    "torque": ("#PBS", _torque),
    "lsf": ("#BSUB", _lsf),
    "sge": ("#$", _sge),
}
"""Queue -> the sign of its lines in a script's head, and what they say."""


def folder_of_output(folder: Path) -> Path:
    """Return where jobs of the run in this folder put what they print."""
    return folder / "logs" / "jobs"
