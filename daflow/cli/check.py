"""``daflow check``: what a workflow's run would take, and the job script that would be submitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

HELP: Final = (
    "Look at a workflow and all that it names; say what a run would take. Runs nothing, writes nothing.\n\n"
    "With [bold]--job-script[/], print the script of the jobs that workers run in, as the batch system would "
    "get it.\n\n"
    "[bold]daflow check workflow.yaml\n\ndaflow check workflow.yaml --profile slurm --job-script[/]"
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
        Path, typer.Option("--run", help="The run's folder that a job script is to name.", show_default=False)
    ] = Path("RUN"),
    *,
    job_script: Annotated[
        bool, typer.Option("--job-script", help="Print the script of the jobs that workers run in.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Look at a workflow and all that it names; say what a run would take."""
    from daflow.assemble.preview import preview
    from daflow.cli.tables import preview_table
    from daflow.config.load import load_workflow

    workflow = load_workflow(file, override or (), profile)
    seen = preview(workflow)
    script = None
    if job_script:
        from daflow.execution.clusters import job_script_of

        script = job_script_of(workflow.execution, folder)
    if as_json:
        told = seen.to_json() if script is None else seen.to_json() | {"job_script": script}
        typer.echo(json.dumps(told, indent=1))
    elif script is not None:
        typer.echo(script)
    else:
        Console().print(preview_table(seen))


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help=HELP)(check)
