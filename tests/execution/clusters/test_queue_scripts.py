"""Job scripts: every setting stands in them in the system's own words, and a shell does what is meant."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import dask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from daflow.config.execution import AddressExecution, ExecutionSettings, LocalExecution
from daflow.errors import ConfigError
from daflow.execution.clusters.dask_clusters import FOR_WORKERS, job_script_of
from daflow.execution.clusters.queue_scripts import AVOIDING, Site, avoiding, keywords, stagger

RUN = Path("/shared/runs/my+run")
ASKED = {
    "jobs": 3,
    "cores": 4,
    "threads": 2,
    "memory": "8GB",
    "account": "geo",
    "prologue": ["module load python"],
    "python": "/opt/env/bin/python",
    "scratch": "/scratch/$USER",
    "interface": "ib0",
    "options": {"worker_extra_args": ["--resources", "gpu=1"]},
}
QUEUED = {"queue": "long", "walltime": "1-02:00:30", "directives": ["-X one", "-Y two"]}
WORDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "slurm": (
        QUEUED,
        [
            "#SBATCH -J daflow-my_run",
            "#SBATCH -o /shared/runs/my+run/logs/jobs/daflow-my_run-%J.out",
            "#SBATCH -p long",
            "#SBATCH -A geo",
            "#SBATCH --cpus-per-task=4",
            "#SBATCH --mem=8G",
            "#SBATCH -t 26:00:30",
            "#SBATCH -X one",
            "#SBATCH -Y two",
        ],
    ),
    "pbs": (
        QUEUED,
        [
            "#PBS -N daflow-my_run",
            "#PBS -q long",
            "#PBS -A geo",
            "#PBS -l select=1:ncpus=4:mem=7630MB",
            "#PBS -l walltime=26:00:30",
            "#PBS -o /shared/runs/my+run/logs/jobs/",
            "#PBS -X one",
            "#PBS -Y two",
        ],
    ),
    "lsf": (
        QUEUED,
        [
            "#BSUB -J daflow-my_run",
            "#BSUB -q long",
            '#BSUB -P "geo"',
            "#BSUB -n 4",
            '#BSUB -R "span[hosts=1]"',
            "#BSUB -W 26:01",
            "#BSUB -X one",
            "#BSUB -Y two",
        ],
    ),
    "sge": (
        {**QUEUED, "parallel_environment": "smp"},
        [
            "#$ -N daflow-my_run",
            "#$ -q long",
            "#$ -P geo",
            "#$ -l mem_free=1908M",
            "#$ -l h_rt=26:00:30",
            "#$ -pe smp 4",
            "#$ -X one",
            "#$ -Y two",
        ],
    ),
    "oar": (
        {**QUEUED, "memory_property": "memcore"},
        [
            "#OAR -n daflow-my_run",
            "#OAR -q long",
            "#OAR --project geo",
            "#OAR -l /nodes=1/core=4,walltime=26:00:30",
            "#OAR -p memcore>=1908",
            "#OAR -X one",
            "#OAR -Y two",
        ],
    ),
    "moab": (
        QUEUED,
        [
            "#PBS -N daflow-my_run",
            "#PBS -q long",
            "#PBS -A geo",
            "#PBS -l nodes=1:ppn=4,mem=7630mb",
            "#PBS -l walltime=26:00:30",
            "#PBS -X one",
            "#PBS -Y two",
        ],
    ),
    "htcondor": (
        {"walltime": "1-02:00:30", "disk": "3GB", "directives": ["notify_user = a@b", "+X = 1"]},
        [
            "MY.DaskWorkerCores = 4",
            "MY.DaskWorkerMemory = 8000000000",
            "MY.DaskWorkerDisk = 3000000000",
            "accounting_group = geo",
            "periodic_remove = (JobStatus == 2) && (time() - EnteredCurrentStatus > 93630)",
            "notify_user = a@b",
            "+X = 1",
        ],
    ),
}
"""Kind -> what else is asked for, and the lines that its job script must hold."""


SECTION: TypeAdapter[Any] = TypeAdapter(ExecutionSettings)


def execution(kind: str, **asked: Any) -> Any:
    return SECTION.validate_python({"kind": kind, **asked})


@pytest.mark.parametrize("kind", WORDS)
def test_that_a_job_script_asks_in_the_systems_own_words_for_all_that_is_asked_for(kind):
    own, lines = WORDS[kind]
    script = job_script_of(execution(kind, **ASKED, **own), RUN)
    assert [line for line in lines if line not in script.splitlines()] == []
    worker = next(line for line in script.splitlines() if "dask_worker" in line)
    for words in (
        "/opt/env/bin/python -m distributed.cli.dask_worker tcp://DRIVER:PORT",
        "--name daflow-my_run-1 --nthreads 2 --memory-limit 7.45GiB --nanny",
        "--local-directory /scratch/$USER",
        "--resources gpu=1",
        "--interface ib0",
        "--lifetime ${DAFLOW_LIFETIME}s --lifetime-stagger 60s",
    ):
        assert words in worker
    before = script[: script.index("-m distributed")]
    assert before.index("export DAFLOW_JOB_END") < before.index("module load python")
    assert before.index("module load python") < before.index("DAFLOW_LIFETIME=")
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=0.95" in before
    assert "export DASK_DISTRIBUTED__WORKER__PRELOAD=daflow.assemble.worker" in before


def test_that_what_dask_is_configured_to_load_here_is_left_to_it():
    with dask.config.set({"distributed.worker.preload": ["their.module"]}):
        assert "PRELOAD" not in job_script_of(execution("slurm"), RUN)


def test_that_torque_has_its_own_words_for_cores_and_memory():
    script = job_script_of(execution("pbs", dialect="torque", cores=2, memory="1GB"), RUN)
    assert "#PBS -l nodes=1:ppn=2,mem=954mb" in script
    assert "select=" not in script


def test_that_keywords_of_dask_jobqueue_win_where_both_have_a_say():
    script = job_script_of(execution("pbs", options={"resource_spec": "select=1:ncpus=9"}), RUN)
    assert "#PBS -l select=1:ncpus=9\n" in script
    assert (
        job_script_of(execution("slurm", options={"job_directives_skip": ["--mem"]}), RUN).count("--mem=")
        == 0
    )


def test_that_processes_share_the_memory_of_a_job():
    script = job_script_of(execution("slurm", cores=4, processes=4, memory="8GiB"), RUN)
    assert "--nthreads 1 --memory-limit 2.00GiB --nworkers 4" in script


def test_that_a_container_stands_before_its_own_python():
    box = {"image": "/images/daflow.sif"}
    script = job_script_of(execution("slurm", container=box), RUN)
    assert "apptainer exec --bind /shared/runs/my+run /images/daflow.sif python3 -m distributed" in script
    run = "docker run --rm --network host -v {folder}:{folder}"
    script = job_script_of(
        execution("slurm", container={**box, "run": run}, python="/env/bin/python"), Path("/r")
    )
    assert "docker run --rm --network host -v /r:/r /images/daflow.sif /env/bin/python -m" in script


def test_that_jobs_without_an_end_let_workers_live_on():
    script = job_script_of(execution("htcondor"), RUN)
    assert "lifetime" not in script.lower()
    assert "DAFLOW_JOB_END" not in script
    assert "periodic_remove" not in script


@pytest.mark.parametrize("kind", ["slurm", "htcondor"])
def test_that_a_shell_works_out_when_the_job_ends_and_how_long_a_worker_lives(kind):
    said = keywords(
        execution(kind, walltime="00:10:00", margin=100.0, prologue=["sleep 1"]), Site(RUN, FOR_WORKERS)
    )
    # HTCondor has its lines run as one.
    joined = (
        "; ".join(said["job_script_prologue"])
        if kind == "htcondor"
        else "\n".join(said["job_script_prologue"])
    )
    assert "$(" not in joined  # a macro of HTCondor's
    command = f"{joined}\necho $DAFLOW_JOB_END $DAFLOW_LIFETIME; env"
    before = time.time()
    answer = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
    end, lifetime = map(int, answer.splitlines()[0].split())
    assert int(before) + 600 <= end <= time.time() + 600
    assert 600 - 100 - 15 - (time.time() - before) - 1 <= lifetime <= 600 - 100 - 15
    assert "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=0.85" in answer


@settings(max_examples=50)
@given(st.integers(1, 10**6), st.floats(0.01, 1.0))
def test_that_workers_are_all_gone_before_the_margin_and_live_at_least_half_of_what_is_left(walltime, share):
    hours = f"{walltime // 3600:02d}:{walltime // 60 % 60:02d}:{walltime % 60:02d}"
    margin = walltime * share * 0.99
    asked = execution("slurm", walltime=hours, margin=margin)
    # The lifetime is shorter than what is left by one stagger, and drawn from one stagger around it.
    assert stagger(asked) <= 60
    assert walltime - margin - 2 * stagger(asked) >= (walltime - margin) / 2


def test_that_hosts_are_avoided_in_the_systems_own_words():
    hosts = {"node2.site.org", "node1"}
    assert avoiding("slurm", ["-X"], hosts) == ["-X", "--exclude=node1,node2"]
    assert avoiding("lsf", [], hosts) == ["-R \"select[hname!='node1' && hname!='node2']\""]
    assert avoiding("sge", [], hosts) == ["-l h=!(node1|node2)"]
    wish = avoiding("htcondor", {"requirements": "HasX"}, hosts)["requirements"]
    assert wish.startswith("(HasX) && ")
    assert 'regexp("^node2([.]|$)", Machine)' in wish
    for kind in WORDS:
        lines: Any = {} if kind == "htcondor" else []
        assert avoiding(kind, lines, []) == lines
        assert (avoiding(kind, lines, hosts) != lines) == (kind in AVOIDING)


def test_that_the_name_of_a_job_is_one_that_every_queue_takes():
    assert Site(Path("/a/ä b:c*"), {}).job_name == "daflow-__b_c_"
    assert len(Site(Path("/a/a_very_long_name_of_a_run"), {}).job_name) == 15


@pytest.mark.parametrize("other", [LocalExecution(), AddressExecution(address="tcp://a:1")])
def test_that_there_is_no_job_script_where_there_are_no_jobs(other):
    with pytest.raises(ConfigError, match="no job script") as error:
        job_script_of(other, RUN)
    assert "slurm" in error.value.allowed


@pytest.mark.parametrize("folder", [RUN.parent / "my run", RUN.parent / "my\trun"])
def test_that_a_folder_with_a_space_in_its_name_is_refused(folder):
    with pytest.raises(ConfigError, match="space in its name"):
        job_script_of(execution("slurm"), folder)
    with pytest.raises(ConfigError, match="space in its name"):
        job_script_of(execution("slurm", logs=str(folder)), RUN)
