"""What a forecast takes, and who runs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.config.carrying import carried
from daflow.config.load import from_json, starter_text, to_json, workflow_from
from daflow.config.member_jobs import JobMember, WorkerMember
from daflow.config.yaml_text import parse_document
from daflow.errors import ConfigError

WORKFLOW = parse_document(starter_text(), "starter").values
JOB = {"kind": "job", "system": "slurm"}


def workflow(execution, tmp_path, model=None):
    values = dict(WORKFLOW)
    values["execution"] = execution
    if model is not None:
        values["model"] = model
    return workflow_from(values, tmp_path, "test")


COMMAND = {
    "kind": "command",
    "command": ["true", "{cores}", "{tasks}", "{nodes}"],
    "output": {"kind": "npy", "file": "x.npy"},
}
"""A model that may be parallel."""


def test_that_cores_alone_are_a_workers_and_that_all_forms_survive_the_run_folder(tmp_path):
    for member, kind in (
        ({"cores": 2}, WorkerMember),
        ({}, WorkerMember),
        (JOB | {"directives": ["--exclusive"], "prologue": ["module load x"]}, JobMember),
    ):
        made = workflow({"kind": "local", "member": member}, tmp_path)
        assert isinstance(made.execution.member, kind)
        assert from_json(to_json(made)) == made
    assert made.execution.member.directives == ("--exclusive",)
    assert made.execution.member.seconds == 3600


WRONG = [
    ({"kind": "slurm", "cores": 4, "member": {"cores": 5}}, "member.cores", "at most 4"),
    (
        {"kind": "slurm", "cores": 4, "processes": 2, "member": {"cores": 3}},
        "member.cores",
        "shared by 2 processes",
    ),
    (
        {"kind": "slurm", "cores": 4, "memory": "4GB", "member": {"cores": 4, "memory": "5GB"}},
        "member.memory",
        "execution.memory = 4GB",
    ),
    ({"kind": "local", "memory": "2GB", "member": {"memory": "3GB"}}, "member.memory", "never fits"),
    ({"kind": "local", "member": {"core": 3}}, "member.core", "did you mean 'cores'"),
    ({"kind": "local", "member": {"cores": 0}}, "member.cores", "at least 1"),
    ({"kind": "local", "member": {"kind": "job"}}, "member.system", "slurm, pbs, torque, lsf, sge"),
    ({"kind": "moab", "member": {"kind": "job"}}, "member.system", "does not follow from"),
    ({"kind": "local", "member": JOB | {"launcher": "srun"}}, "member.launcher", "is none"),
    ({"kind": "local", "member": JOB | {"tasks": 2}}, "execution.member", "is one process"),
    ({"kind": "local", "member": JOB | {"walltime": "soon"}}, "member.walltime", "HH:MM:SS"),
    ({"kind": "local", "member": JOB | {"directives": ["a\nb"]}}, "member.directives", "One line"),
    ({"kind": "local", "member": JOB | {"at_once": 0}}, "member.at_once", "at least 1"),
]


@pytest.mark.parametrize(("execution", "key", "words"), WRONG)
def test_that_what_can_never_fit_or_be_done_is_refused(execution, key, words, tmp_path):
    with pytest.raises(ConfigError) as error:
        workflow(execution, tmp_path)
    assert key in str(error.value)
    assert words in str(error.value)


def test_that_processes_are_shared_evenly_among_nodes(tmp_path):
    fits = workflow({"kind": "slurm", "member": {"kind": "job", "nodes": 2, "tasks": 4}}, tmp_path, COMMAND)
    assert fits.execution.member.system is None
    with pytest.raises(ConfigError, match="a multiple of nodes: 2"):
        workflow({"kind": "slurm", "member": {"kind": "job", "nodes": 2, "tasks": 3}}, tmp_path, COMMAND)


def test_that_placeholders_of_resources_are_known_and_others_are_not(tmp_path):
    workflow({"kind": "local"}, tmp_path, COMMAND)
    with pytest.raises(ConfigError, match=r"did you mean \{cores\}"):
        workflow({"kind": "local"}, tmp_path, COMMAND | {"command": ["true", "{core}"]})


amounts = st.integers(1, 64)


@given(
    threads=amounts, cores=amounts, gigabytes=amounts, asked=amounts, memory=amounts, more=st.integers(0, 9)
)
def test_that_a_worker_never_carries_more_than_it_has(threads, cores, gigabytes, asked, memory, more):
    member = WorkerMember(cores=asked, memory=f"{memory}GB")
    n = carried(member, threads, cores, gigabytes * 10**9)
    assert n <= threads
    assert n * asked <= cores
    assert n * memory <= gigabytes
    assert n == threads or (n + 1) * asked > cores or (n + 1) * memory > gigabytes
    greedier = WorkerMember(cores=asked + more, memory=f"{memory + more}GB")
    assert carried(greedier, threads, cores, gigabytes * 10**9) <= n
    assert carried(WorkerMember(), threads, cores, gigabytes) == threads
    assert carried(member, threads, None, None) == threads
