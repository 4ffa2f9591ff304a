"""``daflow submit``: the driver of a run as a job of a queue, or as a chain of them."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console

from daflow.cli import driving
from daflow.cli.check import Profile
from daflow.cli.orders import Drop, MinMembers, Retry, orders_of
from daflow.cli.panels import DRIVING
from daflow.errors import ConfigError

SUBMIT: Final = (
    "Let a batch system drive a run: the driver becomes a job of its own.\n\n"
    "Everything that the workflow names is looked at first; then the run's folder is made, RUN/driver.sh "
    "written and submitted. Where workers are jobs of a queue (--profile), the driver is one more of it, of "
    "one core; with workers of kind local the whole run is in that job, of the queue that --system names.\n\n"
    "The driver lays the run down in order before its walltime is over; `daflow resume` or the same command "
    "goes on with it. With [bold]--chain[/] it goes on by itself: each driver submits its successor first, "
    "until the run is done or cannot go on. Three in a row that bring nothing new end the chain.\n\n"
    "`daflow status`, `attach` and `stop` work as for any run; what the driver says is in RUN/driver.log.\n\n"
    "[bold]daflow submit workflow.yaml --run runs/a --profile slurm --walltime 24:00:00 --chain\n\n"
    "daflow submit workflow.yaml --run runs/a --system slurm --directive=--partition=long[/]"
)

File = Annotated[Path, typer.Argument(help="The workflow file (YAML).", show_default=False)]
RunToMake = Annotated[
    Path, typer.Option("--run", help="Where the run goes, or is already.", show_default=False)
]
Override = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting: --set ensemble.size=20 (repeatable)."
    ),
]
System = Annotated[
    str | None,
    typer.Option(help="The driver's queue: slurm, pbs, lsf, sge; default: that of the workers."),
]
Walltime = Annotated[
    str | None,
    typer.Option(
        metavar="HH:MM:SS",
        help="The driver's walltime; default: that of the workers' jobs, or four hours.",
    ),
]
Margin = Annotated[
    str | None,
    typer.Option(
        metavar="HH:MM:SS",
        help="How long before its end the driver lays the run down; members under way are done again. "
        "Default: a tenth of the walltime, at most two minutes.",
    ),
]
Directives = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LINE",
        help="One more line for the head of the driver's script, without its sign (repeatable).",
    ),
]
Chain = Annotated[bool, typer.Option("--chain", help="Go on by further jobs until the run is done.")]


def submit(
    file: File,
    folder: RunToMake,
    *,
    override: Override = None,
    profile: Profile = None,
    system: System = None,
    walltime: Walltime = None,
    margin: Margin = None,
    directive: Directives = None,
    chain: Chain = False,
    retry: Retry = None,
    drop: Drop = None,
    min_members: MinMembers = None,
    as_json: driving.Json = False,
) -> None:
    """Let a batch system drive a run."""
    from daflow.assemble.driving.driver_jobs import driver_job
    from daflow.assemble.driving.driver_jobs import submit as submitted
    from daflow.assemble.folder import make_run
    from daflow.config.load import load_workflow

    orders = orders_of(retry, drop, min_members, retry_failed=False)
    workflow = load_workflow(file, override or (), profile)
    job = driver_job(
        workflow,
        system=system,
        seconds=_seconds("--walltime", walltime),
        margin=_seconds("--margin", margin),
        directives=directive or (),
        chain=chain,
    )
    made = make_run(workflow, folder, file.read_text(encoding="utf-8"))
    number = submitted(made, replace(job, orders=orders))
    if as_json:
        typer.echo(json.dumps({"job": number, "system": job.system, "run": str(made.folder), "chain": chain}))
        return
    typer.echo(
        f"job {number} of {job.system} is to drive the run; it says more in {made.folder}/driver.log\n"
        f"  daflow attach {made.folder}   shows how it gets on\n"
        f"  daflow stop {made.folder}     ends it"
    )


def _seconds(option: str, text: str | None) -> int | None:
    from daflow.config.amounts import seconds_of

    if text is None:
        return None
    seconds = seconds_of(text)
    if not seconds:
        raise ConfigError(
            f"{option}: not a time", got=text, allowed="HH:MM:SS or D-HH:MM:SS, such as 12:00:00"
        )
    return seconds


def drive(
    folder: driving.Folder,
    *,
    chain: Annotated[bool, typer.Option("--chain", help="Submit a successor first.")] = False,
    retry: Retry = None,
    drop: Drop = None,
    min_members: MinMembers = None,
) -> None:
    """Drive a run as a job of a queue; RUN/driver.sh calls this."""
    import daflow
    from daflow.assemble.branching import plan_for
    from daflow.assemble.driving.chain import drive_as_job, drive_generation
    from daflow.assemble.driving.sessions import session_here
    from daflow.assemble.folder import open_folder
    from daflow.cli.progress import watching

    signal.signal(signal.SIGTERM, _interrupt)
    run, session = open_folder(folder), session_here()
    orders = orders_of(retry, drop, min_members, retry_failed=False)
    typer.echo(f"--- job {session.job} of {session.system}")
    with watching(plan_for(run), Console()) as watch:
        if chain:
            stop = drive_generation(run, watch, session, typer.echo, orders)
        else:
            stop = drive_as_job(run, watch, session, orders)
    if stop.kind == "finished":
        typer.echo(f"finished; report: {daflow.open_run(run.folder).report()}")
    elif not (chain and stop.kind == "walltime"):
        driving.end(stop, run.folder)


def _interrupt(signum: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=SUBMIT, rich_help_panel=DRIVING)(submit)
    app.command(hidden=True)(drive)
