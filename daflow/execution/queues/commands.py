"""The commands of a queue: asked with patience, and their refusals told with a cure."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from daflow.errors import PoolError

PATIENCE_SECONDS: Final = 60.0
"""How long a command of the queue may take; a controller that restarts answers within that."""
MOST_IDS: Final = 400
"""How many jobs one command is asked about: its line may not grow without end."""


GONE: Final = re.compile(
    r"unknown job|invalid job id|not found|no matching|does not exist|couldn't find|not active|already|"
    r"has finished|has completed|for state of job",
    re.IGNORECASE,
)
"""What queues say of jobs that they do not know, or no more."""


def ask(
    argv: Sequence[str], *, stdin: Path | None = None, some_gone: bool = False, where: Path | None = None
) -> str:
    """Run a command of the queue and return what it says.

    Parameters
    ----------
    argv
        The command; no shell between.
    stdin
        A file that is its standard input; ``None``: it has none.
    some_gone
        Whether its answer counts where it complains of nothing but jobs that it does not know.
    where
        The folder that it is called in; ``None``: the present one.

    Raises
    ------
    daflow.errors.PoolError
        The command is not there, does not answer, or refuses.
    """
    try:
        with (stdin or Path(os.devnull)).open("rb") as given:
            answer = subprocess.run(
                list(argv),
                stdin=given,
                cwd=where,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE_SECONDS,
                env=outside_of_jobs(os.environ),
                check=False,
            )
    except FileNotFoundError as error:
        raise PoolError(
            f"the queue's command {argv[0]} is not found",
            got=f"not in {os.environ.get('PATH', '')}",
            allowed="a machine from which jobs can be submitted",
            do="go to a login node, or load the module that brings it",
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PoolError(
            f"the queue did not answer {argv[0]}",
            got=str(error),
            do="see whether its controller is up, then `daflow resume` the run: nothing is lost",
        ) from error
    complaints = answer.stderr.splitlines()
    if answer.returncode and not (some_gone and all(GONE.search(line) for line in complaints)):
        raise refusal(argv, answer.stderr.strip() or answer.stdout.strip(), answer.returncode)
    return answer.stdout


def refusal(argv: Sequence[str], said: str, code: int) -> PoolError:
    """Return the error that tells what a command of the queue said."""
    return PoolError(
        f"the queue refused `{' '.join(argv)[:200]}`",
        got=f"{said or 'nothing'} (exit code {code})",
        do="mend what it names (queue, account, limits, directives), then `daflow resume` the run",
    )


OF_A_JOB: Final = ("SLURM_", "PBS_", "LSB_", "SGE_", "PMI_", "PMIX_", "DAFLOW_JOB_", "DAFLOW_RUN")
"""What the names of variables begin with that tell a process which job, or which driver's, it is.

A job's script that carried its driver's mark would be taken for a process that a dead driver left here.
"""
OF_THE_SITE: Final = frozenset(
    {"SLURM_CONF", "SLURM_CLUSTERS", "SGE_ROOT", "SGE_CELL", "PBS_CONF_FILE", "PBS_EXEC"}
)
"""Those of them that tell where the queue is, in every job and outside."""


def outside_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that do not say which job this process is part of.

    A driver may itself be a job. What it submits inherits its variables in some queues, and half of another
    job's description beside its own ("SLURM_MEM_PER_CPU and SLURM_MEM_PER_NODE are mutually exclusive") makes
    launchers fail.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in OF_THE_SITE or not name.startswith(OF_A_JOB)
    }


def in_lots(ids: Sequence[str]) -> list[Sequence[str]]:
    """Return jobs as they are asked about: at most `MOST_IDS` at a time."""
    return [ids[first : first + MOST_IDS] for first in range(0, len(ids), MOST_IDS)]
