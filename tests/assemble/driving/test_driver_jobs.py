import subprocess
from dataclasses import replace

import pytest

from daflow.assemble.driving import chain, driver_jobs
from daflow.assemble.driving.driver_jobs import SYSTEMS, driver_job, script_of, submit
from daflow.assemble.folder import RunFolder
from daflow.cli.orders import orders_of
from daflow.config.load import load_workflow, starter_text
from daflow.errors import CombinationError, ConfigError, DataError, LeaseError
from daflow.execution.queues.job_states import JobState
from daflow.names import Status
from daflow.runs import facts
from daflow.runs.journal import Journal
from daflow.runs.lease import Lease
from daflow.runs.orders import Orders


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(starter_text())
    return lambda *overrides: load_workflow(path, overrides)


QUEUED = (
    "execution={kind: slurm, queue: long, account: me, walltime: '10:00:00', prologue: [module load x], "
    "directives: [--exclusive]}"
)


def test_that_the_driver_of_jobs_takes_a_core_in_their_queue_and_no_node_for_itself(workflow, tmp_path):
    script = script_of(tmp_path, driver_job(workflow(QUEUED), chain=True))
    for line in (
        "#SBATCH --partition=long",
        "#SBATCH --account=me",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --time=10:00:00",
        "export DAFLOW_JOB_END=$(( $(date +%s) + 36000 ))",
        "export DAFLOW_SYSTEM=slurm",
        "module load x",
    ):
        assert f"\n{line}\n" in script
    assert "--exclusive" not in script
    assert script.rstrip().endswith(f"daflow.cli drive {tmp_path} --chain")
    assert "DAFLOW_MARGIN" not in script


def test_that_a_driver_with_workers_of_its_own_asks_for_their_cores_and_memory(workflow, tmp_path):
    local = workflow("execution={kind: local, workers: 6, memory: 3GB}")
    job = driver_job(
        local, system="slurm", seconds=7200, margin=60.0, directives=["--partition=fat"], chain=False
    )
    script = script_of(tmp_path, job)
    assert "#SBATCH --cpus-per-task=6\n" in script
    assert "#SBATCH --mem=19074M\n" in script
    assert "#SBATCH --partition=fat\n" in script
    assert "#SBATCH --time=02:00:00\n" in script
    assert "export DAFLOW_MARGIN=60\n" in script
    assert "--chain" not in script


def test_that_what_is_asked_for_stands_in_the_script_as_the_command_line_reads_it(workflow, tmp_path):
    orders = Orders(frozenset({Status.TIMED_OUT, Status.FAILED}), frozenset({17}), frozenset({2, 3}), 5)
    script = script_of(tmp_path, replace(driver_job(workflow(QUEUED)), orders=orders))
    words = script.rstrip().rpartition(f"drive {tmp_path} ")[2].split()
    assert words == ["--retry", "failed,timed-out,17", "--drop", "2,3", "--min-members", "5"]
    assert orders_of(words[1:2], words[3:4], int(words[5]), retry_failed=False) == orders


@pytest.mark.parametrize("system", SYSTEMS)
def test_that_a_driver_s_script_is_one_that_a_shell_takes_and_says_all_in_its_log(workflow, tmp_path, system):
    directives = ["-pe smp 2"] if system == "sge" else []
    folder = tmp_path / "a run"
    script = script_of(folder, driver_job(workflow(), system=system, directives=directives))
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert f"exec >> '{folder}/driver.log' 2>&1\n" in script


@pytest.mark.parametrize(
    ("overrides", "wish", "error", "words"),
    [
        ((), {}, ConfigError, "nothing says which queue"),
        ((), {"system": "htcondor"}, CombinationError, "cannot be submitted to htcondor"),
        (("execution={kind: oar}",), {}, CombinationError, "cannot be submitted to oar"),
        ((), {"system": "sge"}, CombinationError, "parallel environment"),
        ((QUEUED,), {"margin": 36000.0}, ConfigError, "no time left"),
    ],
)
def test_that_a_driver_that_no_queue_can_take_is_refused(workflow, overrides, wish, error, words):
    with pytest.raises(error, match=words):
        driver_job(workflow(*overrides), **wish)


class Queue:
    def __init__(self, phase):
        self.phase, self.scripts = phase, []

    def submit(self, script, *, array=None, at_once=None, after=None):
        self.scripts.append(script)
        return str(len(self.scripts))

    def states(self, ids):
        return {job: JobState(self.phase) for job in ids}


@pytest.fixture
def run(workflow, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return RunFolder(folder, workflow(QUEUED), 3, {})


@pytest.mark.parametrize(("phase", "refused"), [("pending", True), ("running", True), ("ended", False)])
def test_that_a_run_has_one_driver_waiting_for_it(run, monkeypatch, phase, refused):
    queue = Queue(phase)
    monkeypatch.setattr(chain, "batch_system", lambda kind: queue)
    job = driver_job(run.workflow)
    assert submit(run, job) == "1"
    assert queue.scripts == [run.folder / "driver.sh"]
    if refused:
        with pytest.raises(LeaseError, match="is to have one") as error:
            submit(run, job)
        assert error.value.got == "job 1"
    else:
        assert submit(run, replace(job, chain=True)) == "2"
        assert "--chain" in (run.folder / "driver.sh").read_text()


def test_that_a_finished_run_gets_no_driver(run, monkeypatch):
    monkeypatch.setattr(driver_jobs, "submit_driver", lambda *_: pytest.fail("submitted"))
    with Journal(run.journal) as journal:
        journal.append(facts.stopped("finished", "all steps are done", resumable=False))
    with pytest.raises(DataError, match="is finished"):
        submit(run, driver_job(run.workflow))


def test_that_a_run_that_is_driven_gets_no_other_driver(run, monkeypatch):
    monkeypatch.setattr(driver_jobs, "submit_driver", lambda *_: pytest.fail("submitted"))
    with Lease(run.lease), pytest.raises(LeaseError, match="has a driver already"):
        submit(run, driver_job(run.workflow))
