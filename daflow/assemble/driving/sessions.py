"""How a driver runs this time: under whose eyes, in which job, until when."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from daflow.assemble.driving.orphans import JOB_END
from daflow.errors import ConfigError
from daflow.runs.lease import Holder, Mode

MODE: Final = "DAFLOW_MODE"
"""How the driver that is being started runs: ``detached`` or ``job``."""
SYSTEM: Final = "DAFLOW_SYSTEM"
"""The queue that the driver is a job of."""
MARGIN: Final = "DAFLOW_MARGIN"
"""Seconds before the end of its job at which a driver lays its run down."""
MOST_MARGIN: Final = 120.0
SHARE: Final = 0.1
"""The margin where none is given: this share of the time that there is, at most two minutes."""
JOB_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "slurm": ("SLURM_JOB_ID",),
    "pbs": ("PBS_JOBID", "SLURM_JOB_ID"),  # Slurm has the commands of Torque, but its own variables
    "lsf": ("LSB_JOBID",),
    "sge": ("JOB_ID",),
}
"""Where a queue tells a job its id."""


@dataclass(frozen=True, slots=True)
class Session:
    """How a driver runs this time."""

    mode: Mode = "foreground"
    job: str = ""
    """The job that it is, if it is one."""
    system: str = ""
    """The queue of that job."""
    ends: float | None = None
    """When it lays its run down at the latest, by the monotonic clock; ``None``: at the run's end."""
    patience: float = 0.0
    """Seconds for which it waits for a driver before it that has died elsewhere."""
    follows: str = ""
    """The job of the chain that it goes on after; empty: somebody has started it."""

    def holder(self) -> Holder:
        """Return this process as the holder of a lease."""
        return Holder.this_process(self.mode, self.job, self.system)


def session_here(environment: MutableMapping[str, str] = os.environ, patience: float = 0.0) -> Session:
    """Return how the driver that this process is going to be runs, by what whoever started it says.

    What says how *this* process runs is taken out of the environment: its workers are not drivers.

    Raises
    ------
    daflow.errors.ConfigError
        A variable is not what it should be.
    """
    mode = environment.pop(MODE, "foreground")
    system = environment.pop(SYSTEM, "")
    margin = environment.pop(MARGIN, "")
    if mode not in get_args(Mode):
        allowed = ", ".join(get_args(Mode))
        raise ConfigError(f"{MODE}: no such way to run", got=mode, allowed=allowed, do=f"unset {MODE}")
    job = next((environment[name] for name in JOB_IDS.get(system, ()) if name in environment), "")
    ends = _ends(_seconds(JOB_END, environment.get(JOB_END, "")), _seconds(MARGIN, margin))
    return Session(cast("Mode", mode), job, system, ends, patience)


def _seconds(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f"{name}: not a number of seconds", got=text, allowed="a number", do=f"unset {name}"
        ) from None


def _ends(job_end: float | None, margin: float | None) -> float | None:
    """Return when to lay the run down, by the monotonic clock: the other one may be set anew."""
    if job_end is None:
        return None
    left = job_end - time.time()
    return time.monotonic() + left_to_drive(left, margin)


def left_to_drive(left: float, margin: float | None) -> float:
    """Return for how long a run may be driven in a job that has so many seconds left.

    Laws: never longer than there is; a margin that is given is kept to.
    """
    if margin is None:
        margin = min(MOST_MARGIN, SHARE * max(left, 0.0))
    return max(left - margin, 0.0)
