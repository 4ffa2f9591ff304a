"""``daflow check``: what a workflow's run would take, and the job script that would be submitted."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daflow.cli.panels import BEFORE

if TYPE_CHECKING:
    from daflow.config.schema import Workflow

HELP: Final = (
    "Look at a workflow and all that it names; say what a run would take. Runs nothing, writes nothing.\n\n"
    "With [bold]--job-script[/], print the script of the jobs that workers run in (and members, where they "
    "have jobs of their own), as the batch system would get it. With [bold]--submit-one[/], ask for one "
    "worker as a run would, look at what it is and sees, and "
    "give it back.\n\n"
    "[bold]daflow check workflow.yaml\n\ndaflow check workflow.yaml --profile slurm --job-script\n\n"
    "daflow check workflow.yaml --profile slurm --submit-one --run runs/first[/]"
)
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME_OR_PATH",
        help="Where to run: a file with a section execution (and maybe policy) that takes the place of the "
        "workflow's. A name is looked for in $DAFLOW_PROFILES, ~/.config/daflow/profiles, then beside the "
        "workflow.",
    ),
]


def check(
    file: Annotated[Path, typer.Argument(help="The workflow file (YAML).", show_default=False)],
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting: --set ensemble.size=20 (repeatable)."
        ),
    ] = None,
    profile: Profile = None,
    folder: Annotated[
        Path,
        typer.Option(
            "--run",
            help="The run's folder: a job script names it, a trial worker is to see it.",
            show_default=False,
        ),
    ] = Path("RUN"),
    *,
    job_script: Annotated[
        bool, typer.Option("--job-script", help="Print the script of the jobs that workers run in.")
    ] = False,
    submit_one: Annotated[
        bool, typer.Option("--submit-one", help="Ask for one worker, tell what it is and sees.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Look at a workflow and all that it names; say what a run would take."""
    from daflow.assemble.looking_ahead.preview import preview
    from daflow.cli.tables import preview_table
    from daflow.config.load import load_workflow

    workflow = load_workflow(file, override or (), profile)
    seen = preview(workflow)
    told: dict[str, Any] = _scripts(workflow, folder) if job_script else {}
    if submit_one:
        told["trial"] = _tried(workflow, folder)
    if as_json:
        typer.echo(json.dumps(seen.to_json() | told, indent=1))
        return
    if not told:
        Console().print(preview_table(seen))
    for name in ("job_script", "member_script"):
        if name in told:
            typer.echo(told[name])
    if submit_one:
        Console().print(trial_table(told["trial"]))


def _scripts(workflow: Workflow, folder: Path) -> dict[str, str]:
    """Return the scripts of all the jobs that a run would submit: of workers, and of members on their own."""
    from daflow.assemble.driving.member_jobs import member_script
    from daflow.config.execution import QueueExecution
    from daflow.execution.clusters.dask_clusters import job_script_of

    of_member = member_script(workflow, folder.absolute())
    scripts = {} if of_member is None else {"member_script": of_member}
    if of_member is None or isinstance(workflow.execution, QueueExecution):
        return {"job_script": job_script_of(workflow.execution, folder), **scripts}
    return scripts


def _tried(workflow: Workflow, folder: Path) -> dict[str, Any]:
    from daflow.assemble.looking_ahead.trial import try_one

    with _leaving_in_order():
        return try_one(workflow, folder.absolute().parent, lambda text: typer.echo(text, err=True)).to_json()


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """Let the end of a batch job be what Ctrl-C is: the job that is on trial is cancelled."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def trial_table(trial: Mapping[str, Any]) -> Table:
    """Return what came of asking for one worker, as one reads it."""
    from daflow.cli.tables import size

    worker = trial["worker"]
    left = worker["seconds_left"]
    said = {
        "worker": f"on {worker['host']}, after {trial['seconds']:.0f} s"
        + (f" (job {', '.join(trial['jobs'])})" if trial["jobs"] else ""),
        "driver": f"reached at {trial['scheduler']}",
        "run folder": "seen" if worker["folder"] else "not there",
        "python": f"{worker['python']}, daflow {worker['daflow']}, dask {worker['dask']}",
        "cores": f"{worker['cores']}, {worker['threads']} tasks at once",
        "memory": size(worker["memory_bytes"]) if worker["memory_bytes"] else "no limit",
        "scratch": f"{worker['scratch']}, {size(worker['scratch_free_bytes'])} free",
        "job ends": "nobody says" if left is None else f"in {left:,.0f} s",
    }
    table = Table(
        title=f"a worker of {trial['kind']}",
        title_justify="left",
        title_style="bold",
        show_header=False,
        box=None,
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in said.items():
        table.add_row(name, Text(value))
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help=HELP, rich_help_panel=BEFORE)(check)
