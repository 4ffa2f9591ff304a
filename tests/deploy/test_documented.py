"""The tables of what batch systems document: they name their pages, and daflow says nothing beside them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from daflow.config.execution import ExecutionSettings
from daflow.execution.clusters.queue_clusters import job_script as worker_script
from daflow.execution.clusters.queue_scripts import Site
from daflow.execution.member_jobs.scripts import HEADS, OUTPUT, JobNeeds, job_script
from daflow.execution.queues import oar_and_moab, other_queues, pbs, slurm
from daflow.execution.queues.batch_systems import batch_system, systems
from tests.deploy.documented import MEMBERS, NOT_LOOKED_UP, SYSTEMS
from tests.deploy.documented_commands import COMMANDS

NEEDS = JobNeeds("daflow-member", 2, 8, 3, 4 * 10**9, 90_061, "long", "climate")
SAYS = {
    "bsub": "Job <17> is submitted to queue <long>.",
    "condor_submit": "17.0 - 17.2",
    "oarsub": "OAR_JOB_ID=17",
    "sbatch": "17",
    "msub": "17",
}
PAGES = [
    *((name, line.page) for name, system in SYSTEMS.items() for line in system.directives.values()),
    *((name, line.page) for name, lines in MEMBERS.items() for line in lines.values()),
    *((name, page) for name, pages in COMMANDS.items() for page in pages.values()),
]


@pytest.mark.parametrize(("name", "page"), sorted(set(PAGES)))
def test_that_each_entry_names_its_page_or_says_why_not(name, page):
    named = r"\(1B?\)|\(5\)|\(7B\)|Guide, |Reference, |Administer: |manual, condor_submit: "
    assert page.removeprefix(NOT_LOOKED_UP).strip()
    assert page.startswith(NOT_LOOKED_UP) or re.search(named, page), name


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("nodes", [1, 2])
def test_that_members_jobs_say_nothing_that_their_system_does_not_document(name, nodes):
    needs = JobNeeds("daflow-member", nodes, NEEDS.tasks, NEEDS.cores, NEEDS.memory, 60)
    output = f"/run/logs/jobs/step-{OUTPUT.get(name, '')}.txt"
    for each in (needs, NEEDS):
        text = job_script(name, each, output, "true")
        sign = f"{HEADS[name][0]} "
        lines = [line.removeprefix(sign) for line in text.splitlines() if line.startswith(sign)]
        assert lines
        strange = [
            line for line in lines if not any(re.fullmatch(pattern, line) for pattern in MEMBERS[name])
        ]
        assert strange == []


def called(name: str, script: Path, monkeypatch) -> list[str]:
    """Return how a system's commands are called for all that is asked of it."""
    lines: list[str] = []

    def ask(argv, **_):
        lines.append(" ".join(argv))
        if argv[0] == "qsub":
            return "17.1-3:1" if name == "sge" else "17[].head"
        return SAYS.get(argv[0], "")

    for module in (slurm, pbs, other_queues, oar_and_moab):
        monkeypatch.setattr(module, "ask", ask)
    system = batch_system(name)
    ids = [system.submit(script), "18"]
    if system.has_arrays:
        array = system.submit(script, array=3, at_once=2)
        ids += [system.element(array, 0), system.element(array, 1), system.submit(script, array=3)]
    if name != "htcondor":
        ids.append(system.submit(script, after=ids[0]))
    system.states(ids)
    system.cancel(ids)
    return lines


@pytest.mark.parametrize("name", systems())
def test_that_commands_are_called_as_their_system_documents(name, tmp_path, monkeypatch):
    script = tmp_path / "job.sh"
    script.touch()
    lines = called(name, script, monkeypatch)
    assert [line for line in lines if not any(re.fullmatch(each, line) for each in COMMANDS[name])] == []
    unused = [each for each in COMMANDS[name] if not any(re.fullmatch(each, line) for line in lines)]
    assert unused == [], "the table has commands that nobody calls"


def test_that_elements_of_grid_engine_are_cancelled_by_ranges(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(other_queues, "ask", lambda argv, **_: lines.append(" ".join(argv)))
    batch_system("sge").cancel(["9.2", "17.3", "17.1", "12", "17.2", "17.7", "13", "17.10", "17.3"])
    assert lines == ["qdel 12 13", "qdel 17 -t 1-3", "qdel 17 -t 7", "qdel 17 -t 10", "qdel 9 -t 2"]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"directives": ["-p gpu='YES'"]}, "gpu='YES'"),
        ({"directives": ["-p \"gpu='YES'\""]}, "gpu='YES'"),
        ({"directives": ["--property=a>1", '-p b like "x"']}, '(a>1) AND (b like "x")'),
        (
            {"directives": ["-p s = 'a' or s = 'b'"], "memory_property": "memcore"},
            "(s = 'a' or s = 'b') AND (memcore>=3815)",
        ),
        ({"memory_property": "memcore"}, "memcore>=3815"),
    ],
)
def test_that_oar_gets_one_condition_with_its_quotes(asked, wanted, tmp_path):
    said = {"kind": "oar", "cores": 4, "memory": "16GB", **asked}
    text = worker_script(TypeAdapter(ExecutionSettings).validate_python(said), Site(tmp_path / "run", {}))
    lines = [line.removeprefix("#OAR ") for line in text.splitlines() if line.startswith("#OAR -p")]
    # dask-jobqueue passes directives to oarsub as a shell would split them.
    assert [shlex.split(line) for line in lines] == [["-p", wanted]]
