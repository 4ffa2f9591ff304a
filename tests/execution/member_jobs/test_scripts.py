"""Scripts of members' jobs: what each queue is told, in its own words."""

import subprocess

import pytest

from daflow.execution.member_jobs.scripts import HEADS, JobNeeds, job_script

NEEDS = JobNeeds(
    "daflow-member",
    nodes=2,
    tasks=8,
    cores=3,
    memory=4 * 10**9,
    seconds=90_061,
    queue="long",
    account="climate",
    prologue=("module load openmpi",),
)
SAYS = {
    "slurm": [
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks=8",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=3815M",
        "#SBATCH --time=1-01:01:01",
        "#SBATCH --partition=long",
        "#SBATCH --account=climate",
        "#SBATCH --output=/run/logs/x-%a.txt",
        'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',
    ],
    "pbs": [
        "#PBS -l select=2:ncpus=12:mpiprocs=4:ompthreads=3:mem=3815mb",
        "#PBS -l place=scatter",
        "#PBS -l walltime=25:01:01",
        "#PBS -q long",
        "#PBS -A climate",
    ],
    "torque": ["#PBS -l nodes=2:ppn=12", "#PBS -l mem=7630mb", "#PBS -l walltime=25:01:01"],
    "lsf": [
        "#BSUB -n 24",
        '#BSUB -R "span[ptile=12]"',
        '#BSUB -R "rusage[mem=3815MB]"',
        "#BSUB -W 25:02",
        "#BSUB -q long",
        "#BSUB -P climate",
    ],
    "sge": ["#$ -l h_rt=90061", "#$ -q long", "#$ -P climate", "#$ -S /bin/bash"],
}


@pytest.mark.parametrize("kind", SAYS)
def test_that_a_script_says_what_a_member_needs(kind, tmp_path):
    script = job_script(kind, NEEDS, "/run/logs/x-%a.txt", "python -m x")
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    for line in SAYS[kind]:
        assert line in lines
    # Directives end where the first command stands: a queue does not read further.
    sign = HEADS[kind][0]
    n_head = 1 + sum(line.startswith(sign) for line in lines)
    assert all(line.startswith(sign) for line in lines[1:n_head])
    assert lines[n_head] == "export DAFLOW_JOB_END=$(( $(date +%s) + 90061 ))"
    assert lines[-2:] == ["module load openmpi", "exec python -m x"]
    path = tmp_path / "job.sh"
    path.write_text(script)
    subprocess.run(["bash", "-n", path], check=True)


def test_that_directives_come_last_and_hosts_are_avoided_where_there_is_a_word_for_it():
    needs = JobNeeds("daflow-member", 1, 1, 1, 10**9, 60, directives=("--exclusive",))
    lines = job_script("slurm", needs, "x", "true", {"node3", "node1.site"}).splitlines()
    head = [line for line in lines if line.startswith("#SBATCH")]
    assert "#SBATCH --exclusive" in head
    assert "#SBATCH --exclude=node1,node3" in head
    assert "#SBATCH --time=00:01:00" in head
    assert job_script("pbs", needs, "x", "true", {"node3"}) == job_script("pbs", needs, "x", "true")
    assert not any("partition" in line or "account" in line for line in lines)
