"""The keywords of dask-jobqueue's classes: which of them a workflow file may give as ``execution.options``.

They are written down here, and not asked of the package, because a file has to be checked where it is not
installed; a test compares them with the package's own signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from daflow.config.section import Problem, nearest

FREE: Final = frozenset(
    {
        "config_name",
        "death_timeout",
        "job_directives_skip",
        "nanny",
        "scheduler_options",
        "shebang",
        "silence_logs",
        "worker_command",
        "worker_extra_args",
    }
)
"""Those of all systems that no key of the section says."""
FREE_OF: Final[Mapping[str, frozenset[str]]] = {
    "slurm": frozenset({"job_cpu", "job_mem"}),
    "pbs": frozenset({"resource_spec"}),
    "lsf": frozenset({"lsf_units", "mem", "ncpus", "use_stdin"}),
    "sge": frozenset({"resource_spec"}),
    "oar": frozenset({"resource_spec"}),
    "htcondor": frozenset({"cancel_command_extra", "submit_command_extra"}),
    "moab": frozenset({"resource_spec"}),
}
"""Those of one system besides."""
SAID_ELSEWHERE: Final[Mapping[str, str]] = {
    "account": "account",
    "cores": "cores",
    "disk": "disk",
    "env_extra": "prologue",
    "extra": "options.worker_extra_args",
    "header_skip": "options.job_directives_skip",
    "interface": "interface",
    "job_extra": "directives",
    "job_extra_directives": "directives",
    "job_script_prologue": "prologue",
    "local_directory": "scratch",
    "log_directory": "logs",
    "memory": "memory",
    "memory_per_core_property_name": "memory_property",
    "n_workers": "jobs",
    "processes": "processes",
    "project": "account",
    "protocol": "encryption",
    "python": "python",
    "queue": "queue",
    "security": "encryption",
    "shared_temp_directory": "encryption",
    "walltime": "walltime",
}
"""Keyword -> the key of ``execution`` that says it."""
NOT_FROM_A_FILE: Final = frozenset(
    {
        "asynchronous",
        "dashboard_address",
        "host",
        "job_cls",
        "job_name",
        "loop",
        "name",
        "scheduler",
        "scheduler_cls",
    }
)
"""Those that a file cannot say, or that are daflow's own."""

FORMS: Final[Mapping[str, tuple[type, str]]] = {
    "cancel_command_extra": (list, "a list of texts"),
    "job_directives_skip": (list, "a list of texts"),
    "scheduler_options": (dict, "a mapping of keys to values"),
    "submit_command_extra": (list, "a list of texts"),
    "worker_extra_args": (list, "a list of texts: ['--resources', 'gpu=1']"),
}
"""Those that would be taken apart into letters, or fail late, where they are something else."""


def of_options(kind: str, options: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the keywords in ``execution.options`` of a kind."""
    free = FREE | FREE_OF.get(kind, frozenset())
    for name, value in options.items():
        if name in free:
            yield from _of_form(name, value)
            continue
        if name in SAID_ELSEWHERE:
            what = f"is said by a key of its own: execution.{SAID_ELSEWHERE[name]}"
        elif name in NOT_FROM_A_FILE:
            what = "is not for a workflow file to say"
        else:
            near = nearest(name, [*free, *SAID_ELSEWHERE])
            meant = "" if near is None else f"; did you mean '{near}'?"
            what = f"dask-jobqueue has no such keyword for {kind}{meant}"
        yield Problem(f"options.{name}", what, f"'{name}'", ", ".join(sorted(free)))


def _of_form(name: str, value: object) -> Iterator[Problem]:
    form, said = FORMS.get(name, (object, ""))
    fits = isinstance(value, form)
    if fits and isinstance(value, list):
        fits = all(isinstance(each, str) for each in value)
    if not fits:
        yield Problem(f"options.{name}", "of a wrong type", repr(value), said)
