"""What dask-jobqueue is told of a section ``execution``: each system's own words for the same wishes."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daflow.config.clusters import (
    HtcondorExecution,
    OarExecution,
    PbsExecution,
    QueueExecution,
    SgeExecution,
)
from daflow.errors import ConfigError

JOB_NAME: Final = "daflow-"
"""What the names of all jobs begin with."""
LONGEST_NAME: Final = 15
"""Characters that every queue takes for a job's name."""
STAGGER: Final = 0.025
"""How much of their walltime workers' ends lie apart: all gone together, a stage would wait for the queue."""
LONGEST_STAGGER: Final = 60.0
"""The most of it, seconds."""
LONGEST_SILENCE: Final = 180
"""Seconds without a scheduler after which a worker ends; what it loads before it calls counts as well."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run's jobs find things."""

    folder: Path
    """The run's."""
    settings: Mapping[str, Any]
    """dask's settings that workers need as well."""

    @property
    def job_name(self) -> str:
        """What its jobs are called."""
        return (JOB_NAME + re.sub(r"[^A-Za-z0-9_-]", "_", self.folder.name))[:LONGEST_NAME]

    @property
    def logs(self) -> Path:
        """The folder for what jobs print, if no other is named."""
        return self.folder / "logs" / "jobs"


def keywords(execution: QueueExecution, site: Site) -> dict[str, Any]:
    """Return the keywords for the class of dask-jobqueue.

    Laws: every setting stands in the job script, in the system's own words; ``options`` win where both have
    a say.

    Raises
    ------
    daflow.errors.ConfigError
        A folder's name has a space in it, which heads of job scripts cannot say.
    """
    _check_folders(site.folder, execution.logs or site.logs)
    options = dict(execution.options)
    scheduler = {"dashboard_address": ":0"} | options.pop("scheduler_options", {})
    extra = list(options.pop("worker_extra_args", []))
    said: dict[str, Any] = {
        "cores": execution.cores,
        "memory": execution.memory,
        "processes": execution.processes,
        "interface": execution.interface,
        "local_directory": execution.scratch,
        "log_directory": str(execution.logs or site.logs),
        "python": _python(execution, site),
        "job_name": site.job_name,
        "job_script_prologue": _prologue(execution, site),
        "job_extra_directives": list(execution.directives),
        "worker_extra_args": [*_lifetime(execution), *extra],
        "death_timeout": LONGEST_SILENCE,
        "scheduler_options": scheduler,
        "silence_logs": "critical",
    }
    if execution.encryption == "tls":
        said |= {
            "protocol": "tls://",
            "security": True,
            "shared_temp_directory": str(site.folder / "work" / "dask"),
        }
    words = WORDS.get(getattr(execution, "kind", ""))
    return said | (words(execution, said) if words else {}) | options


def _check_folders(*folders: Path) -> None:
    spaced = [folder for folder in folders if len(str(folder).split()) != 1]
    if spaced:
        raise ConfigError(
            "a folder that a job script has to name has a space in its name",
            got=repr(str(spaced[0])),
            allowed="names without spaces: queues take what follows one for another option",
            do="name another folder by --run (or execution.logs)",
        )


def _python(execution: QueueExecution, site: Site) -> str:
    if execution.container is None:
        return execution.python or sys.executable
    run = execution.container.run.replace("{folder}", str(site.folder))
    return f"{run} {execution.container.image} {execution.python or 'python3'}"


def _prologue(execution: QueueExecution, site: Site) -> list[str]:
    """Return the lines that run on the node first: the user's own come after ours, and may change them.

    Backquotes and expr are what every shell has, and no queue's own language.
    """
    lines = []
    if execution.seconds is not None:
        lines += [
            "DAFLOW_JOB_START=`date +%s`",
            f"export DAFLOW_JOB_END=`expr $DAFLOW_JOB_START + {execution.seconds}`",
        ]
    for name, value in site.settings.items():
        lines.append(f"export DASK_{name.replace('.', '__').replace('-', '_').upper()}={value}")
    lines += execution.prologue
    if execution.seconds is not None:
        left = math.ceil(execution.margin + stagger(execution))
        lines += [
            "DAFLOW_NOW=`date +%s`",
            f"DAFLOW_LIFETIME=`expr $DAFLOW_JOB_END - $DAFLOW_NOW - {left}`",
        ]
    return lines


def stagger(execution: QueueExecution) -> float:
    """Return how far apart workers end, seconds."""
    room = (execution.seconds or 0) - execution.margin
    return min(STAGGER * (execution.seconds or 0), LONGEST_STAGGER, room / 4)


def _lifetime(execution: QueueExecution) -> list[str]:
    """Return the words that let a worker go before its job is ended.

    Its length is worked out on the node: the prologue and the waiting for a core have taken some of it.
    """
    if execution.seconds is None:
        return []
    return ["--lifetime", "${DAFLOW_LIFETIME}s", "--lifetime-stagger", f"{stagger(execution):g}s"]


def _hours(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _slurm(execution: QueueExecution, _said: Mapping[str, Any]) -> dict[str, Any]:
    return _queued(execution) | {"account": execution.account}


def _queued(execution: QueueExecution) -> dict[str, Any]:
    return {
        "queue": getattr(execution, "queue", None),
        "walltime": None if execution.seconds is None else _hours(execution.seconds),
    }


def _mebibytes(execution: QueueExecution) -> int:
    return math.ceil(execution.memory_bytes / 2**20)


def _torque(execution: QueueExecution, _said: Mapping[str, Any]) -> dict[str, Any]:
    spec = f"nodes=1:ppn={execution.cores},mem={_mebibytes(execution)}mb"
    return _queued(execution) | {"account": execution.account, "resource_spec": spec}


def _pbs(execution: QueueExecution, said: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(execution, PbsExecution) and execution.dialect == "torque":
        return _torque(execution, said)
    return _queued(execution) | {"account": execution.account}


def _lsf(execution: QueueExecution, _said: Mapping[str, Any]) -> dict[str, Any]:
    minutes = math.ceil((execution.seconds or 0) / 60)
    walltime = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return _queued(execution) | {"walltime": walltime, "project": execution.account}


def _sge(execution: QueueExecution, said: Mapping[str, Any]) -> dict[str, Any]:
    words = _queued(execution) | {"project": execution.account}
    if not isinstance(execution, SgeExecution):
        return words
    if execution.memory_resource is not None:
        each = math.ceil(_mebibytes(execution) / execution.cores)
        words["resource_spec"] = f"{execution.memory_resource}={each}M"
    if execution.parallel_environment is not None:
        cores = f"-pe {execution.parallel_environment} {execution.cores}"
        words["job_extra_directives"] = [cores, *said["job_extra_directives"]]
    return words


OAR_PROPERTY: Final = re.compile(r"(?:-p|--property)(?:\s+|=)")
"""What a directive of OAR begins with that is a condition on resources."""


def _oar(execution: QueueExecution, said: Mapping[str, Any]) -> dict[str, Any]:
    asked = execution.memory_property if isinstance(execution, OarExecution) else None
    wished = [line for line in said["job_extra_directives"] if OAR_PROPERTY.match(line)]
    others = [line for line in said["job_extra_directives"] if line not in wished]
    if wished:
        # dask-jobqueue splits the lines like a shell, which takes the quotes of SQL off a bare condition.
        conditions = [_sql(line) for line in wished]
        if asked is not None:
            conditions.append(f"{asked}>={math.ceil(execution.memory_bytes / execution.cores / 2**20)}")
        joined = " AND ".join(f"({each})" for each in conditions) if len(conditions) > 1 else conditions[0]
        escaped = joined.replace('"', r"\"")
        others, asked = [*others, f'-p "{escaped}"'], None
    # dask-jobqueue leaves what jobs print in whatever folder the driver was started from.
    printed = [f"-O {said['log_directory']}/%jobid%.out", f"-E {said['log_directory']}/%jobid%.err"]
    return _queued(execution) | {
        "project": execution.account,
        "memory_per_core_property_name": asked or "not_applicable",
        "job_extra_directives": [*printed, *others],
    }


def _sql(line: str) -> str:
    """Return the condition of a line ``-p ...``, without quotes around all of it."""
    condition = OAR_PROPERTY.sub("", line, count=1).strip()
    quoted = re.fullmatch(r'"([^"]*)"', condition)
    return quoted[1] if quoted else condition


def _htcondor(execution: QueueExecution, said: Mapping[str, Any]) -> dict[str, Any]:
    pairs = (line.partition("=") for line in said["job_extra_directives"])
    directives = {name.strip(): value.strip() for name, _, value in pairs}
    if execution.account is not None:
        directives = {"accounting_group": execution.account} | directives
    if execution.seconds is not None:
        late = f"(JobStatus == 2) && (time() - EnteredCurrentStatus > {execution.seconds})"
        directives = {"periodic_remove": late} | directives
    # The machine's own shell: HTCondor copies the one of where jobs are submitted from, unless told not to.
    directives = {"transfer_executable": "False"} | directives
    disk = execution.disk if isinstance(execution, HtcondorExecution) else None
    return {"disk": disk, "job_extra_directives": directives}


WORDS: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], dict[str, Any]]]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "lsf": _lsf,
    "sge": _sge,
    "oar": _oar,
    "htcondor": _htcondor,
    "moab": _torque,
}
"""Kind -> what its own words are."""

AVOIDING: Final = frozenset({"slurm", "lsf", "sge", "htcondor"})
"""The systems that have a word for keeping a job from a host."""


def avoiding(kind: str, directives: Any, hosts: Iterable[str]) -> Any:
    """Return directives that also keep a job from these hosts; as they are where a system has no word for it.

    Parameters
    ----------
    kind
        Of the batch system.
    directives
        Lines, or of HTCondor names and values.
    hosts
        By their names, which need not be in full.
    """
    named = sorted({host.partition(".")[0] for host in hosts})
    if not named:
        return directives
    match kind:
        case "slurm":
            return [*directives, f"--exclude={','.join(named)}"]
        case "lsf":
            others = " && ".join(f"hname!='{host}'" for host in named)
            return [*directives, f'-R "select[{others}]"']
        case "sge":
            return [*directives, f"-l h=!({'|'.join(named)})"]
        case "htcondor":
            others = " && ".join(f'!regexp("^{host}([.]|$)", Machine)' for host in named)
            wished = directives.get("requirements")
            return directives | {"requirements": others if wished is None else f"({wished}) && {others}"}
        case _:
            return directives
