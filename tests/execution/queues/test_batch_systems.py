"""Queues that cannot be had here, by what their manuals say they say; Slurm and Torque are tried for real
in tests/slurm."""

import pytest

from daflow.errors import CombinationError, PoolError
from daflow.execution.queues.batch_systems import batch_system, systems
from daflow.execution.queues.commands import outside_of_jobs
from daflow.execution.queues.job_states import BLAMELESS, UNKNOWN, JobState, together
from tests.execution.fake_commands import FakeCommands


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeCommands(tmp_path / "bin", monkeypatch)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "job.sh"
    path.write_text("#!/bin/sh\n")
    return path


SUBMITTED = [
    ("slurm", "sbatch", "17;cluster\n", "17", "17_3", "--array=0-19%4", "--dependency=afterany:9"),
    ("pbs", "qsub", "17[].head\n", "17[].head", "17[3].head", "-J 0-19%4", "-W depend=afterany:9"),
    ("lsf", "bsub", "Job <17> is submitted to queue <normal>.\n", "17", "17[4]", "[1-20]%4", "-w ended(9)"),
    ("sge", "qsub", "17.1-20:1\n", "17", "17.4", "-t 1-20 -tc 4", "-hold_jid 9"),
]


@pytest.mark.parametrize("case", SUBMITTED, ids=lambda case: case[0])
def test_that_a_script_is_submitted_as_an_array_after_another_job(fake, script, case):
    kind, command, says, job, element, array, after = case
    fake.say(command, says)
    system = batch_system(kind)
    assert system.kind == kind
    assert system.submit(script, array=20, at_once=4, after="9") == job
    assert system.element(job, 3) == element
    assert system.submit(script) == job
    first, second = fake.called
    assert array in first
    assert after in first
    assert array not in second
    assert after not in second


def test_that_condor_queues_a_description_and_cannot_wait_for_another_job(fake, script):
    fake.say("condor_submit", "17.0 - 17.19\n")
    system = batch_system("htcondor")
    assert system.submit(script, array=20, at_once=4) == "17"
    assert fake.called == [f"condor_submit -terse {script} -append max_materialize = 4 -queue 20"]
    with pytest.raises(CombinationError, match="after another"):
        system.submit(script, after="9")


ENDED = [
    ("COMPLETED", "COMPLETED"),
    ("TIMEOUT", "TIMEOUT"),
    ("OUT_OF_MEMORY", "OUT_OF_MEMORY"),
    ("NODE_FAIL", "NODE_FAIL"),
    ("BOOT_FAIL", "NODE_FAIL"),
    ("CANCELLED", "CANCELLED"),
    ("PREEMPTED", "PREEMPTED"),
    ("FAILED", "FAILED"),
]


@pytest.mark.parametrize(("word", "reason"), ENDED)
def test_that_slurm_tells_how_a_job_ended(fake, word, reason):
    fake.say("squeue", f"17_0|{word}|None|node[1-2]\n17_1|PENDING|Resources|\n17_2|COMPLETING|None|node3\n")
    states = batch_system("slurm").states(["17_0", "17_1", "17_2", "17"])
    assert states["17_0"] == JobState("ended", reason, "node[1-2]")
    assert states["17_1"] == JobState("pending", "Resources")
    assert states["17_2"] == states["17"] == JobState("running", host="node3")
    assert len(fake.called) == 1


def test_that_slurm_is_asked_by_its_accounts_for_what_its_queue_has_forgotten(fake):
    fake.say("squeue", "")
    fake.say("sacct", "17_0|CANCELLED by 1000|node1\n17_1|OUT_OF_MEMORY|node1\n")
    states = batch_system("slurm").states(["17_0", "17_1", "18"])
    assert states["17_0"] == JobState("ended", "CANCELLED", "node1")
    assert states["17_1"] == JobState("ended", "OUT_OF_MEMORY", "node1")
    assert states["18"] == UNKNOWN
    assert states["18"].gone


def test_that_a_site_without_accounts_knows_no_more_and_says_so(fake):
    fake.say("squeue", "")
    fake.say("sacct", "", 1, "Slurm accounting storage is disabled\n")
    assert batch_system("slurm").states(["17"]) == {"17": UNKNOWN}


PBS_SAYS = """Job Id: 17[0].head
    Job_Name = daflow-members
    job_state = X
    Exit_status = -29
    exec_host = n1/0*4+
\tn2/0*4
Job Id: 17[1].head
    job_state = F
    Exit_status = 271
    exec_host = n1/0
Job Id: 18.head
    job_state = Q
    comment = Not Running: Insufficient amount of resource: ncpus
Job Id: 19.head
    job_state = F
    Exit_status = 0
Job Id: 20.head
    job_state = R
    exec_host = n3/0
Job Id: 21.head
    job_state = C
"""


def test_that_pbs_tells_where_jobs_stand(fake):
    fake.say("qstat", PBS_SAYS, 153, "qstat: Unknown Job Id 22.head\n")
    ids = ["17[0].head", "17[1].head", "18.head", "19.head", "20.head", "21.head", "22.head"]
    states = batch_system("pbs").states(ids)
    assert [states[job].reason for job in ids[:2]] == ["TIMEOUT", ""]
    assert states["17[0].head"].host.startswith("n1/0*4+")
    assert states["18.head"].phase == "pending"
    assert "ncpus" in states["18.head"].reason
    assert states["19.head"] == JobState("ended", "COMPLETED")
    assert states["20.head"] == JobState("running", host="n3/0")
    assert states["21.head"] == JobState("ended")
    assert states["22.head"] == UNKNOWN


def test_that_an_older_qstat_is_asked_without_history_and_one_that_is_down_is_asked_again(fake):
    system = batch_system("torque")
    fake.say("qstat", "", 1, "cannot connect to server head (errno=111)\n")
    with pytest.raises(PoolError, match="cannot connect"):
        system.states(["17.head"])
    fake.say("qstat", "", 2, "Unknown option: x\n")
    with pytest.raises(PoolError, match="Unknown option"):
        system.states(["17.head"])
    assert fake.called == ["qstat -x -f 17.head"] * 2 + ["qstat -f 17.head"]


def test_that_commands_that_do_not_tell_elements_apart_take_no_arrays(fake, script):
    fake.say("qsub", "17\n")
    fake.say("qdel", "")
    with pytest.raises(PoolError, match="apart") as error:
        batch_system("torque").submit(script, array=3)
    assert "array: false" in error.value.do
    assert fake.called == [f"qsub -t 0-2 {script}", "qdel 17"]


LSF_SAYS = """17|1|DONE|n1|-
17|2|EXIT|n1|TERM_RUNLIMIT: job killed after reaching LSF run time limit
17|3|EXIT|n1|TERM_MEMLIMIT: job killed after reaching LSF memory usage limit
17|4|EXIT|n1|TERM_OWNER: job killed by owner
17|5|EXIT|n1|-
17|6|PEND|-|-
18|0|RUN|n2|-
"""


def test_that_lsf_tells_where_jobs_stand(fake):
    fake.say("bjobs", LSF_SAYS, 255, "Job <19> is not found\n")
    system = batch_system("lsf")
    elements = [system.element("17", n) for n in range(6)]
    states = system.states([*elements, "17", "18", "19"])
    reasons = ["COMPLETED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "FAILED"]
    assert [states[job].reason for job in elements[:5]] == reasons
    assert states[elements[5]].phase == states["17"].phase == "pending"
    assert states["18"] == JobState("running", host="n2")
    assert states["19"] == UNKNOWN


SGE_SAYS = """job-ID  prior   name       user    state submit/start at     queue          slots ja-task-ID
-----------------------------------------------------------------------------------------------------
     17 0.55500 daflow-mem me       r     11/22/2026 12:00:00 all.q@n1           2 1
     17 0.55500 daflow-mem me       qw    11/22/2026 12:00:00                    2 2
     18 0.55500 daflow-w   me       r     11/22/2026 12:00:00 all.q@n2           1
"""


def test_that_grid_engine_tells_where_jobs_stand(fake):
    fake.say("qstat", SGE_SAYS)
    system = batch_system("sge")
    states = system.states([system.element("17", 0), system.element("17", 1), "17", "18", "19"])
    assert states["17.1"] == JobState("running", host="n1")
    assert states["17.2"].phase == "pending"
    assert states["17"].phase == "running"
    assert states["18"] == JobState("running", host="n2")
    assert states["19"] == UNKNOWN


def test_that_condor_tells_where_jobs_stand(fake):
    fake.say(
        "condor_q", "17, 0, 2, undefined, slot1@n1, undefined\n17, 1, 1, undefined, undefined, undefined\n"
    )
    fake.say("condor_history", "16, 0, 4, 0, slot1@n1, undefined\n15, 0, 3, undefined, n2, via condor_rm\n")
    states = batch_system("htcondor").states(["17.0", "17.1", "16", "15", "14"])
    assert states["17.0"] == JobState("running", host="n1")
    assert states["17.1"].phase == "pending"
    assert states["16"] == JobState("ended", "COMPLETED", "n1")
    assert states["15"].reason == "CANCELLED"
    assert states["14"] == UNKNOWN


@pytest.mark.parametrize(
    ("kind", "command"),
    [("slurm", "scancel"), ("pbs", "qdel"), ("lsf", "bkill"), ("sge", "qdel"), ("htcondor", "condor_rm")],
)
def test_that_jobs_are_cancelled_by_one_command(fake, kind, command):
    fake.say(command, "")
    batch_system(kind).cancel(["17", "18"])
    batch_system(kind).cancel([])
    assert fake.called == [f"{command} 17 18"]


UNKNOWN_TO = [
    ("slurm", "scancel", "scancel: error: Kill job error on job id 17: Invalid job id specified\n"),
    ("pbs", "qdel", "qdel: Unknown Job Id 17.head\nqdel: Job has finished 18.head\n"),
    ("lsf", "bkill", "Job <17>: No matching job found\nJob <18>: Job has already finished\n"),
    ("sge", "qdel", 'denied: job "17" does not exist\n'),
    ("htcondor", "condor_rm", "Couldn't find/remove all jobs in cluster 17\n"),
]


@pytest.mark.parametrize(("kind", "command", "error"), UNKNOWN_TO)
def test_that_cancelling_what_has_ended_is_fine_and_a_refusal_is_not(fake, kind, command, error):
    system = batch_system(kind)
    fake.say(command, "", 1, error)
    system.cancel(["17", "18"])
    fake.say(command, "", 1, f"{error}permission denied for user me\n")
    with pytest.raises(PoolError, match="permission denied"):
        system.cancel(["17", "18"])


def test_that_a_refusal_says_what_the_queue_said(fake, script):
    fake.say("sbatch", "", 1, "sbatch: error: invalid partition specified: nosuch\n")
    with pytest.raises(PoolError, match="invalid partition specified: nosuch") as error:
        batch_system("slurm").submit(script)
    assert "daflow resume" in error.value.do


@pytest.mark.parametrize("kind", ["pbs", "lsf", "htcondor"])
def test_that_an_answer_without_an_id_is_an_error(fake, script, kind):
    command = {"pbs": "qsub", "lsf": "bsub", "htcondor": "condor_submit"}[kind]
    fake.say(command, "" if kind == "pbs" else "who knows\n")
    with pytest.raises(PoolError, match="no id"):
        batch_system(kind).submit(script)


def test_that_a_queue_that_is_not_here_is_an_error_with_a_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PoolError, match="sbatch is not found") as error:
        batch_system("slurm").submit(tmp_path / "x")
    assert "login node" in error.value.do


def test_that_only_what_there_is_can_be_named():
    assert set(systems()) == {"slurm", "pbs", "torque", "lsf", "sge", "htcondor", "oar", "moab"}
    with pytest.raises(PoolError, match="no such batch system"):
        batch_system("cron")


def test_that_an_array_runs_as_long_as_an_element_does():
    done, bad = JobState("ended", "COMPLETED"), JobState("ended", "TIMEOUT")
    waits, runs = JobState("pending"), JobState("running")
    assert together([done, waits, runs]) == runs
    assert together([done, waits]) == waits
    assert together([done, bad]) == bad
    assert together([done]) == done
    assert together([]) == UNKNOWN
    assert "OUT_OF_MEMORY" not in BLAMELESS


def test_that_what_is_submitted_does_not_inherit_the_job_it_is_submitted_from():
    inside = {
        "SLURM_JOB_ID": "1",
        "SLURM_CONF": "/etc/x",
        "PATH": "/bin",
        "DAFLOW_JOB_END": "5",
        "DAFLOW_RUN": "a driver's mark",
        "PBS_JOBID": "2",
    }
    assert outside_of_jobs(inside) == {"SLURM_CONF": "/etc/x", "PATH": "/bin"}
