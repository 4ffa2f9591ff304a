"""Sections of batch systems: what they take and refuse, and which keywords they leave to dask-jobqueue."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.config.clusters import QueueExecution
from daflow.config.jobqueue_keywords import FREE, FREE_OF, NOT_FROM_A_FILE, SAID_ELSEWHERE
from daflow.config.load import from_json, json_schema, to_json, workflow_from
from daflow.config.schema import Workflow
from daflow.config.workers import seconds_of
from daflow.errors import ConfigError
from daflow.execution.clusters.jobqueue import JobQueueCluster, dask_jobqueue
from daflow.execution.clusters.queue_clusters import CLASSES

KINDS = sorted(CLASSES)
OF_ITSELF = {"job_kwargs", "self", "base_class_kwargs"}


def workflow(policy: Any = None, **execution: Any) -> Workflow:
    return workflow_from(
        {
            "parameters": {"a": {"prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}},
            "model": {"kind": "callable", "function": "model:forecast"},
            "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
            "execution": execution,
            "policy": policy or {},
        }
    )


def of_its_class(kind: str) -> set[str]:
    made_of = getattr(dask_jobqueue, CLASSES[kind])
    classes = [*made_of.job_cls.__mro__, JobQueueCluster]
    own = [one for one in classes if one.__module__.startswith("dask_jobqueue") and "__init__" in vars(one)]
    return {name for one in own for name in inspect.signature(one.__init__).parameters} - OF_ITSELF


@pytest.mark.parametrize("kind", KINDS)
def test_that_every_keyword_of_dask_jobqueue_is_free_said_elsewhere_or_refused(kind):
    known, free = of_its_class(kind), FREE | FREE_OF[kind]
    assert free <= known
    assert known - free <= SAID_ELSEWHERE.keys() | NOT_FROM_A_FILE
    assert not free & (SAID_ELSEWHERE.keys() | NOT_FROM_A_FILE)


@pytest.mark.parametrize("kind", KINDS)
def test_that_every_system_has_a_section_whose_defaults_can_be_used(kind):
    section = workflow(kind=kind).execution
    assert isinstance(section, QueueExecution)
    assert section.slots_a_job == section.cores == 1
    assert from_json(to_json(workflow(kind=kind))).execution == section


def test_that_a_system_has_only_the_options_that_it_can_honour():
    own = {
        kind: json_schema()["$defs"][f"{kind.capitalize()}Execution"]["properties"].keys() for kind in KINDS
    }
    shared = set.intersection(*map(set, own.values()))
    assert {"jobs", "cores", "memory", "account", "prologue", "container", "options"} <= shared
    assert {kind: set(keys) - shared for kind, keys in own.items()} == {
        "slurm": {"queue"},
        "pbs": {"queue", "dialect"},
        "lsf": {"queue"},
        "sge": {"queue", "parallel_environment", "memory_resource"},
        "oar": {"queue", "memory_property"},
        "moab": {"queue"},
        "htcondor": {"disk"},
    }


REFUSED = [
    ({"kind": "htcondor", "queue": "long"}, ["execution.queue", "no such key"]),
    ({"kind": "slurm", "disk": "1GB"}, ["execution.disk", "no such key"]),
    ({"kind": "slurn"}, ["did you mean 'slurm'"]),
    ({"kind": "slurm", "walltime": "90:00"}, ["execution.walltime", "HH:MM:SS"]),
    ({"kind": "slurm", "walltime": "00:00:00"}, ["execution.walltime", "HH:MM:SS"]),
    ({"kind": "pbs", "walltime": "00:01:00"}, ["execution.margin", "less than 60 s"]),
    ({"kind": "lsf", "cores": 2, "threads": 3}, ["execution.cores", "at least 3"]),
    ({"kind": "oar", "cores": 3, "threads": 2, "processes": 2}, ["execution.cores", "at least 4"]),
    ({"kind": "sge", "cores": 2}, ["execution.parallel_environment", "smp"]),
    ({"kind": "slurm", "adaptive": {"maximum": 1}}, ["execution.jobs", "1 to 1"]),
    ({"kind": "slurm", "memory": "64"}, ["execution.memory", "2GB"]),
    ({"kind": "slurm", "directives": ["--mem=0\n#SBATCH -A x"]}, ["execution.directives", "One line"]),
    ({"kind": "htcondor", "directives": ["notify_user"]}, ["execution.directives", "name = value"]),
    ({"kind": "slurm", "options": {"worker_extra_arg": []}}, ["did you mean 'worker_extra_args'"]),
    (
        {"kind": "slurm", "options": {"resource_spec": "x"}},
        ["options.resource_spec", "no such keyword for slurm"],
    ),
    ({"kind": "slurm", "options": {"worker_extra_args": "--x 1"}}, ["options.worker_extra_args", "a list"]),
    ({"kind": "slurm", "options": {"job_directives_skip": [1]}}, ["options.job_directives_skip", "a list"]),
    ({"kind": "pbs", "options": {"queue": "x"}}, ["options.queue", "execution.queue"]),
    ({"kind": "pbs", "options": {"project": "x"}}, ["options.project", "execution.account"]),
    ({"kind": "pbs", "options": {"job_cls": "x"}}, ["options.job_cls", "not for a workflow file"]),
    ({"kind": "plugin"}, ["execution.cluster", "missing"]),
    ({"kind": "plugin", "cluster": "KubeCluster"}, ["execution.cluster", "module:function"]),
]


@pytest.mark.parametrize(("section", "said"), REFUSED, ids=lambda case: str(case)[:50])
def test_that_what_cannot_be_honoured_is_refused_with_the_cure(section, said):
    with pytest.raises(ConfigError) as error:
        workflow(**section)
    assert [part for part in said if part not in str(error.value)] == []


def test_that_the_folder_of_logs_lies_beside_the_workflow_unless_it_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("SITE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert workflow(kind="slurm", logs="printed").execution.logs == tmp_path / "printed"
    assert workflow(kind="slurm", logs="${SITE}/x").execution.logs == tmp_path / "x"


def test_that_a_time_limit_of_a_model_in_python_is_refused_where_threads_share_its_worker():
    policy = {"timeout": 10.0}
    with pytest.raises(ConfigError, match=r"execution\.threads") as error:
        workflow(policy=policy, kind="slurm", cores=2, threads=2)
    assert "more processes" in str(error.value)
    assert workflow(policy=policy, kind="slurm", cores=2, processes=2)


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_that_a_walltime_is_read_with_and_without_days(days, hours, minutes, seconds):
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert seconds_of(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}") == total
    assert seconds_of(f"{days * 24 + hours:02d}:{minutes:02d}:{seconds:02d}") == total


@pytest.mark.parametrize("text", ["", "10", "1:2:3", "10:61:00", "a-10:00:00", "10:00:00 ", "-1-10:00:00"])
def test_that_what_is_no_walltime_says_none(text):
    assert seconds_of(text) is None
