"""Who runs the forecasts of members, and how many at once."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from daflow.assemble.driving import member_jobs, members, members_told
from daflow.assemble.driving.launch import _ready_store
from daflow.assemble.driving.member_jobs import member_script, members_at_work
from daflow.assemble.driving.members import forecasts_at_once, with_members
from daflow.assemble.driving.members_told import check_machine, told
from daflow.assemble.folder import make_run
from daflow.assemble.member_job import NO_SUCH_BATCH, NOT_ALL_WELL, WELL, main
from daflow.config.carrying import carried_here
from daflow.config.load import load_workflow
from daflow.errors import ConfigError, PoolError
from daflow.execution.member_jobs.batches import PLACE, write_batch
from daflow.execution.pools.inline_pool import InlinePool
from daflow.execution.pools.members_window import MembersWindow
from daflow.execution.pools.witnesses import Unwatched
from daflow.execution.queues.registry import register
from daflow.names import Phase, Status
from daflow.records import Task
from tests.execution.fake_commands import FakeCommands

LINEAR = """
name: small
seed: 1
ensemble: {size: 4}
parameters:
  level: {shape: [3], prior: {kind: normal, mean: 0, std: 1}}
model: {kind: linear, variable: level, n: 3}
observations: {kind: twin, error: {default: {absolute: 0.3}}}
method: {kind: es_mda, steps: 1}
"""
JOB = "execution: {kind: local, member: {kind: job, system: slurm, walltime: '00:10:00'}}\n"


def made(folder: Path, execution: str = ""):
    path = folder / "workflow.yaml"
    path.write_text(LINEAR + execution)
    return load_workflow(path)


def execution(folder, text):
    return made(folder, f"execution: {text}\n").execution


def crew(*workers):
    """Workers that somebody else has started: threads, memory and, if it was said, cores."""
    found = {
        f"tcp://{i}": {
            "nthreads": threads,
            "memory_limit": memory,
            "resources": {} if cores is None else {"cores": cores},
        }
        for i, (threads, memory, cores) in enumerate(workers)
    }
    return SimpleNamespace(client=SimpleNamespace(scheduler_info=lambda n_workers: {"workers": found}))


def test_that_workers_carry_as_many_forecasts_as_their_cores_and_memory_do(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "cores_here", lambda: 8)
    local = execution(tmp_path, "{kind: local, workers: 4, threads: 2, member: {cores: 3, memory: 2GB}}")
    assert forecasts_at_once(local, crew(), 8) == 2  # of 8 cores
    assert forecasts_at_once(local, crew(), 0) == 0
    assert carried_here(local, 2, None) == 1  # of 2 GB
    queue = execution(tmp_path, "{kind: slurm, cores: 8, processes: 2, threads: 4, member: {cores: 2}}")
    assert forecasts_at_once(queue, crew(), 16) == 8  # two in each of four processes
    assert carried_here(queue, 4, None) == 2
    anyone = execution(tmp_path, "{kind: address, address: 'tcp://x:1', member: {cores: 4, memory: 1GB}}")
    there = crew((4, 10**10, None), (1, 10**10, 16), (8, 10**9, None), (2, 10**10, None), (1, 0, 4))
    assert forecasts_at_once(anyone, there, 16) == 1 + 1 + 1 + 0 + 1
    assert carried_here(anyone, 8, 10**10) == 2
    assert carried_here(execution(tmp_path, "{kind: local}"), 2, None) is None


def test_that_workers_of_which_none_carries_a_forecast_are_an_error_with_a_cure(tmp_path):
    anyone = execution(tmp_path, "{kind: address, address: 'tcp://x:1', member: {cores: 4}}")
    with pytest.raises(PoolError, match="fits into none") as error:
        forecasts_at_once(anyone, crew((2, 10**9, None)), 2)
    assert "up to 2 cores" in str(error.value)
    assert "--resources" in str(error.value)


def test_that_a_forecast_larger_than_this_machine_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(members_told, "cores_here", lambda: 2)
    check_machine(execution(tmp_path, "{kind: local, member: {cores: 2}}"))
    with pytest.raises(ConfigError, match="never fits: this machine has fewer"):
        check_machine(execution(tmp_path, "{kind: local, member: {cores: 3}}"))
    check_machine(execution(tmp_path, "{kind: slurm, cores: 4, member: {cores: 3}}"))


def test_that_only_what_has_been_counted_stands_before_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(members_told, "cores_here", lambda: 2)
    for text, apart in (("{kind: local}", False), ("{kind: local, member: {cores: 1}}", True)):
        run = SimpleNamespace(workflow=made(tmp_path, f"execution: {text}\n"), folder=tmp_path)
        pool = InlinePool(lambda tasks: [])
        found = with_members(run, pool, crew(), Unwatched())
        assert isinstance(found, MembersWindow) if apart else found is pool


def test_that_a_check_tells_how_members_will_run(tmp_path, monkeypatch):
    monkeypatch.setattr(members_told, "cores_here", lambda: 8)
    assert told(execution(tmp_path, "{kind: local}")) == ""
    local = told(execution(tmp_path, "{kind: local, workers: 4, member: {cores: 3}}"))
    assert local == "each forecast takes 3 cores of a worker: 2 at once"
    queue = "{kind: slurm, jobs: 3, cores: 8, threads: 8, memory: 16GB, member: {cores: 2, memory: 5GB}}"
    assert told(execution(tmp_path, queue)).endswith("2 cores and 5GB of a worker: 9 at once")
    adaptive = "{kind: slurm, jobs: 1, adaptive: {maximum: 5}, member: {cores: 1}}"
    assert told(execution(tmp_path, adaptive)).endswith(": 5 at once")
    anyone = told(execution(tmp_path, "{kind: address, address: 'tcp://x:1', member: {cores: 4}}"))
    assert "the workers say" in anyone
    job = told(made(tmp_path, JOB).execution)
    assert job.startswith(
        "each forecast is a job of slurm: 1 node, 1 process of 1 core, 2GB a node, 00:10:00"
    )
    assert job.endswith("at most 50 at once, submitted as one array a step")


def test_that_the_script_of_members_jobs_can_be_seen_beforehand(tmp_path):
    assert member_script(made(tmp_path), tmp_path / "run") is None
    script = member_script(made(tmp_path, JOB), tmp_path / "run")
    assert "#SBATCH --time=00:10:00" in script
    assert script.rstrip().endswith('"$SLURM_ARRAY_TASK_ID"')
    alone = member_script(made(tmp_path, JOB.replace("walltime", "array: false, walltime")), tmp_path / "run")
    assert alone.rstrip().endswith('"0"')
    for system, said in (
        ("lsf", "$((LSB_JOBINDEX - 1))"),
        ("torque", "$PBS_ARRAYID"),
        ("sge", "SGE_TASK_ID"),
    ):
        text = JOB.replace("slurm", system)
        assert said in member_script(made(tmp_path, text), tmp_path / "run")


@pytest.fixture
def run(tmp_path):
    workflow = made(tmp_path)
    run = make_run(workflow, tmp_path / "run", LINEAR)
    _ready_store(run)
    return run


def test_that_a_job_does_what_a_worker_does_and_leaves_receipts(run):
    tasks = [Task(Phase.PRIOR, 0, member) for member in range(3)]
    batch = write_batch(run.folder, [tasks[:2], tasks[2:]])
    assert main([str(run.folder), str(batch.folder), "0"]) == WELL
    store = _ready_store(run)
    assert [store.receipt(task).status for task in tasks[:2]] == [Status.OK, Status.OK]
    assert store.receipt(tasks[2]) is None
    assert batch.notes()[0].began > 0
    # Sent again, it finds what it left.
    assert main([str(run.folder), str(batch.folder), "0"]) == WELL


def test_that_a_job_says_how_it_ended_for_the_queues_listings(run, capsys):
    batch = write_batch(run.folder, [[Task(Phase.FORECAST, 0, 0)]])  # of a member that nobody has drawn
    assert main([str(run.folder), str(batch.folder), "0"]) == NOT_ALL_WELL
    assert "forecast-0-00000-0" in capsys.readouterr().out
    assert main([str(run.folder), str(batch.folder), "7"]) == NO_SUCH_BATCH
    batch.forget()
    assert main([str(run.folder), str(batch.folder), "0"]) == NO_SUCH_BATCH
    assert "given it up" in capsys.readouterr().err


def test_that_a_store_that_will_not_be_written_to_is_told_beside_receipts(run):
    batch = write_batch(run.folder, [[Task(Phase.PRIOR, 0, 0)]])
    (run.folder / "receipts").rmdir() if (run.folder / "receipts").exists() else None
    (run.folder / "receipts").write_text("a file in the way")
    assert main([str(run.folder), str(batch.folder), "0"]) == NOT_ALL_WELL
    assert batch.notes()[0].blocked.status is Status.BLOCKED


def test_that_jobs_of_members_are_looked_for_before_anything_is_tidied_up(run, tmp_path, monkeypatch):
    assert not members_at_work(run)
    fake = FakeCommands(tmp_path / "bin", monkeypatch)
    batch = write_batch(run.folder, [[Task(Phase.FORECAST, 0, 0)]])
    register(run.folder, "17", "slurm", "member", str(PLACE / batch.name))
    fake.say("squeue", "17|RUNNING|None|node1\n")
    fake.say("scancel", "")
    assert members_at_work(run)
    # Members have no jobs in this workflow: nobody would take this one up.
    assert fake.called[-1] == "scancel 17"
    fake.say("squeue", "17|COMPLETED|None|node1\n")
    assert not members_at_work(run)
    assert not batch.folder.exists()
    fake.say("squeue", "", 1, "slurm_load_jobs error: Unable to contact slurm controller\n")
    assert not members_at_work(run)  # there is no batch left to ask for
    assert member_jobs.system_of(made(tmp_path, JOB).execution.member, "local") == "slurm"
