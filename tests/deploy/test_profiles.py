"""Profiles in deploy/: job scripts hold what is asked for, in words that their systems document, and work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from daflow.cli.app import app
from daflow.config.clusters import QueueExecution
from daflow.config.execution import AddressExecution, ExecutionSettings, PluginExecution
from daflow.config.policy import PolicySettings
from daflow.config.profiles import load_profile
from daflow.execution.clusters.dask_clusters import SETTINGS
from daflow.execution.clusters.queue_clusters import job_script
from daflow.execution.clusters.queue_scripts import LONGEST_NAME, Site, stagger
from tests.deploy.documented import SYSTEMS

DEPLOY = Path(__file__).parents[2] / "deploy"
PROFILES = sorted(DEPLOY.rglob("profile*.yaml"))
QUEUES = ("slurm", "pbs", "lsf", "sge", "oar", "htcondor", "moab")
ASKED = {
    "slurm": [
        "-p standard",
        "-A my_project",
        "--cpus-per-task=4",
        "--mem=15G",
        "-t 04:00:00",
        "--no-requeue",
    ],
    "pbs": ["-q workq", "-A my_project", "-l select=1:ncpus=4:mem=15GB", "-l walltime=04:00:00", "-r n"],
    "torque": ["-q workq", "-A my_project", "-l nodes=1:ppn=4,mem=15259mb", "-l walltime=04:00:00", "-r n"],
    "lsf": ["-q normal", '-P "my_project"', "-n 4", '-R "span[hosts=1]"', "-M 16000", "-W 04:00", "-rn"],
    "sge": [
        "-q all.q",
        "-P my_project",
        "-pe smp 4",
        "-l mem_free=3815M",
        "-l h_rt=04:00:00",
        "-S /bin/bash",
    ],
    "oar": ["-q default", "--project my_project", "-l /nodes=1/core=4,walltime=04:00:00"],
    "htcondor": [
        "MY.DaskWorkerCores = 4",
        "MY.DaskWorkerMemory = 16000000000",
        "MY.DaskWorkerDisk = 4000000000",
        "accounting_group = group_my.project",
        "periodic_remove = (JobStatus == 2) && (time() - EnteredCurrentStatus > 14400)",
        "transfer_executable = False",
        'requirements = (FileSystemDomain == "cluster.example.org")',
    ],
    "moab": ["-q batch", "-A my_project", "-l nodes=1:ppn=4,mem=15259mb", "-l walltime=04:00:00", "-r n"],
}
"""System -> what its profile asks for: 4 cores, 16 GB (14.9 GiB, 15,259 MiB), 4 hours."""


def section(path: Path) -> dict:
    return load_profile(str(path), DEPLOY).document.values["execution"]


def execution(name: str, **changed):
    """Return the settings of a system's profile; of Torque, those of PBS in that dialect."""
    if name == "torque":
        name, changed = "pbs", changed | {"dialect": "torque"}
    said = section(DEPLOY / name / "profile.yaml") | changed
    return TypeAdapter(ExecutionSettings).validate_python(said)


def script(name: str, folder: Path, **changed) -> str:
    return job_script(execution(name, **changed), Site(folder, {}))


def head(name: str, text: str) -> list[str]:
    """Return the directives of a job script."""
    sign = SYSTEMS[name].sign
    lines = [line for line in text.splitlines()[1:] if line.strip()]
    return [line.removeprefix(sign) for line in lines if line.startswith(sign)]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_that_every_profile_is_one(path):
    said = load_profile(str(path), DEPLOY).document.values
    TypeAdapter(ExecutionSettings).validate_python(said["execution"])
    PolicySettings.model_validate(said["policy"])


@pytest.mark.parametrize("name", SYSTEMS)
def test_that_a_script_says_nothing_that_its_system_does_not_document(name, tmp_path):
    documented = SYSTEMS[name].directives
    strange = [
        line
        for line in head(name, script(name, tmp_path / "first"))
        if not any(re.fullmatch(pattern, line) for pattern in documented)
    ]
    assert strange == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_that_a_script_asks_for_what_its_profile_says(name, tmp_path):
    assert [line for line in ASKED[name] if line not in head(name, script(name, tmp_path / "first"))] == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_that_each_job_says_whose_it_is_in_a_name_that_every_queue_takes(name, tmp_path):
    names = re.findall(
        r"(?:-J|-N|-n|batch_name =) (daflow-\S+)", script(name, tmp_path / "a-long-name-of-a-run")
    )
    assert names
    assert all(len(each) <= LONGEST_NAME + 2 for each in names)


def body(name: str, text: str) -> str:
    """Return the part of a job script that a shell runs."""
    if name != "htcondor":
        return text
    arguments = re.search(r'^Arguments = "(.*)"$', text, flags=re.MULTILINE)[1]
    # As condor_submit reads it: '' and "" within quotes are the quote itself.
    return shlex.split(arguments.replace("''", "'\\''").replace('""', '"'))[1]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_that_a_script_starts_a_worker_that_goes_before_its_job_is_ended(name, shell, tmp_path):
    """Run it as the node would, with a Python that only tells what it was asked for."""
    told = tmp_path / "told"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$DAFLOW_JOB_END" "$@" > {told}\n')
    python.chmod(0o755)
    asked = {"python": str(python), "prologue": [], "walltime": "00:30:00", "margin": 120}
    text = body(name, script(name, tmp_path / "first", **asked))
    before = time.time()
    subprocess.run([shell, "-c", text], check=True, env={"PATH": os.environ["PATH"]}, cwd=tmp_path)
    end, *words = told.read_text().split()
    assert before + 1800 - 1 <= int(end) <= time.time() + 1800
    lifetime = int(words[words.index("--lifetime") + 1].removesuffix("s"))
    spread = stagger(execution(name, **asked))
    assert 1800 - 120 - spread - 5 <= lifetime <= 1800 - 120 - spread
    assert float(words[words.index("--lifetime-stagger") + 1].removesuffix("s")) == spread


@pytest.mark.parametrize("name", QUEUES)
def test_that_the_lines_of_a_profile_s_prologue_come_before_the_worker(name, tmp_path):
    text = body(name, script(name, tmp_path / "first"))
    lines = execution(name).prologue
    assert lines
    places = [text.index(line) for line in (*lines, "distributed.cli.dask_worker")]
    assert places == sorted(places)


def test_that_a_container_s_words_stand_before_its_python(tmp_path):
    said = execution("container")
    text = job_script(said, Site(tmp_path / "first", {}))
    words = f"apptainer exec --bind {tmp_path}/first,/project/data /project/images/daflow.sif python3 -m "
    assert f"{words}distributed.cli.dask_worker" in text


@pytest.mark.parametrize("name", QUEUES)
def test_that_every_profile_of_a_queue_says_what_differs_between_sites(name):
    said = execution(name)
    assert isinstance(said, QueueExecution)
    given = said.model_fields_set
    assert {"jobs", "account", "walltime", "margin", "cores", "memory", "prologue"} <= given


@pytest.mark.parametrize("page", sorted(DEPLOY.rglob("*.md")), ids=lambda page: str(page.relative_to(DEPLOY)))
def test_that_pages_point_at_what_is_there(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_that_the_index_names_every_folder():
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in DEPLOY.iterdir() if path.is_dir() and f"({path.name})" not in page] == []


def test_that_settings_named_on_pages_exist():
    """Inline YAML of the pages that belongs to a section is taken by it."""
    schema = TypeAdapter(ExecutionSettings).json_schema()
    keys = {key for model in schema["$defs"].values() for key in model.get("properties", {})}
    named = set()
    for page in DEPLOY.rglob("README.md"):
        for row in re.findall(r"^\| `([^|]*)` \|", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
            named |= {re.match(r"\w+", part)[0] for part in row.replace("`", "").split(", ")}
    assert named - keys - {"requirements", "storage"} == set()


def environment() -> dict[str, str]:
    """Return dask's settings as variables, from where clusters of daflow's own have them."""
    return {
        f"DASK_{key.replace('.', '__').replace('-', '_').upper()}": str(value)
        for key, value in SETTINGS.items()
    }


def test_that_manifests_and_jobs_set_dask_as_clusters_of_daflow_s_own_do():
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "cluster.yaml").read_text()))
    (settings,) = (each["data"] for each in documents if each["kind"] == "ConfigMap")
    job = (DEPLOY / "mpi" / "job.sh").read_text()
    exported = dict(re.findall(r"^export (DASK_\w+)=(\S+)$", job, flags=re.MULTILINE))
    assert exported
    for given in (settings, exported):
        assert given.items() <= environment().items()


def pods(name: str) -> dict[str, dict]:
    """Return the containers of a manifest, by name."""
    found = {}
    for document in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()):
        spec = document.get("spec", {})
        parts = [spec.get("template", {}), spec.get("scheduler", {}), spec.get("worker", {})]
        for part in parts:
            for container in part.get("spec", {}).get("containers", []):
                found[container["name"]] = container
    return found


def test_that_pods_of_kubernetes_fit_together():
    ours, operators = pods("cluster.yaml") | pods("driver.yaml"), pods("operator.yaml")
    assert ours.keys() == {"scheduler", "worker", "driver"}
    assert operators.keys() == {"scheduler", "worker"}
    all_of_them = [*ours.values(), *operators.values()]
    assert len({each["image"] for each in all_of_them}) == 1
    mounts = [
        next(mount["mountPath"] for mount in each["volumeMounts"] if mount["name"] == "runs")
        for each in all_of_them
        if each["name"] != "scheduler"
    ]
    assert mounts == ["/runs"] * 3
    said = TypeAdapter(ExecutionSettings).validate_python(section(DEPLOY / "kubernetes" / "profile.yaml"))
    assert isinstance(said, AddressExecution)
    assert said.address in ours["worker"]["args"]


def test_that_the_operator_s_profile_names_the_manifest_beside_it():
    said = TypeAdapter(ExecutionSettings).validate_python(
        section(DEPLOY / "kubernetes" / "profile-operator.yaml")
    )
    assert isinstance(said, PluginExecution)
    named = Path(said.arguments["custom_cluster_spec"])
    assert (DEPLOY / "kubernetes" / named.name).exists()


@pytest.mark.parametrize("name", ["Dockerfile", "daflow.def"])
def test_that_images_are_made_of_what_is_there(name):
    text = (DEPLOY / "container" / name).read_text()
    root = DEPLOY.parent
    copied = re.findall(r"^(?:COPY (.+) \S+|    (?!cd )(\S+) /opt/\S+)$", text, flags=re.MULTILINE)
    sources = [source for pair in copied for source in "".join(pair).split()]
    assert {"pyproject.toml", "constraints.txt", "daflow"} <= {
        source.removeprefix("./") for source in sources
    }
    assert [source for source in sources if not (root / source).exists()] == []
    extras = re.search(r'"\.\[([\w,]+)\]"', text)[1].split(",")
    declared = (root / "pyproject.toml").read_text()
    assert [extra for extra in extras if f"\n{extra} = [" not in declared] == []


@pytest.mark.parametrize("name", ["mpi/job.sh"])
def test_that_scripts_are_bash(name):
    subprocess.run(["bash", "-n", str(DEPLOY / name)], check=True)


def test_that_commands_of_the_page_exist():
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```\n(.*?)```", page, flags=re.DOTALL)
    for line in block.splitlines():
        words = line.split("#")[0].split()
        if words[0] != "daflow":
            continue
        said = CliRunner().invoke(app, [words[1], "--help"], terminal_width=200).output
        assert [word for word in words if word.startswith("--") and word not in said] == []
