"""Who drives a run, and how: ``--detach``, ``daflow attach``, ``daflow stop``, ``daflow submit``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from daflow.cli.panels import DRIVING
from daflow.errors import PoolError

if TYPE_CHECKING:
    from daflow.assemble.folder import RunFolder
    from daflow.runs.decide import Stop

INTERRUPTED: Final = 130
GIVEN: Final = "daflow.given"
"""Where a command finds the words that it was given."""
DETACH: Final = "--detach"
DETACH_HELP: Final = (
    "Drive the run in a session of its own, which outlives this terminal; what it says goes to "
    "RUN/driver.log. Returns once the run is driven. `daflow attach RUN` shows how it gets on, `daflow stop "
    "RUN` ends it."
)
ATTACH: Final = (
    "Watch a run that somebody drives: detached, as a job, or in another terminal.\n\n"
    "Shows what `daflow run` shows, until the run stops, and ends with the same exit code. Ctrl-C ends the "
    "watching; the run goes on. Of a run that nobody drives it says how it was laid down.\n\n"
    "With --json it prints the new facts of the journal, a JSON object a line.\n\n"
    "[bold]daflow run workflow.yaml --run runs/a --detach\n\ndaflow attach runs/a[/]"
)
STOP: Final = (
    "Lay a run down, wherever it is driven, and wait until that is done. `daflow resume` goes on with it.\n\n"
    "Members under way are waited for, so that nothing is done twice; nothing new is begun. With "
    "[bold]--now[/] they are ended at once and done again later. The driver is asked by a file in the run's "
    "folder, from whatever host; on its own host --now signals it too, and kills it if it does not answer "
    "for half a minute. Ctrl-C ends the waiting; the request stands.\n\n"
    "Of a driver that was killed, it clears what was left behind: processes, jobs, directories of attempts. "
    "Jobs that would go on with the run (`daflow submit --chain`) are cancelled.\n\n"
    "[bold]daflow stop runs/a\n\ndaflow stop runs/a --now[/]"
)

QUEUE_SECONDS: Final = 5.0
"""How often the queue is asked for a driver that is to come."""

Folder = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Detach = Annotated[bool, typer.Option(DETACH, help=DETACH_HELP)]


def detach(ctx: typer.Context, made: RunFolder) -> None:
    """Let the command that was given drive a run in a session of its own.

    The run has been looked at and made: what can be wrong with it has been said.
    """
    from daflow.assemble.driving.detached import start

    started = start(made.folder, [word for word in ctx.meta[GIVEN] if word != DETACH])
    if started.exit_code is None:
        typer.echo(
            f"process {started.pid} drives the run; it says more in {started.log}\n"
            f"  daflow attach {made.folder}   shows how it gets on\n"
            f"  daflow stop {made.folder}     ends it"
        )
        return
    if started.said:
        typer.echo(started.said, err=started.exit_code != 0)
    raise typer.Exit(started.exit_code)


def attach(folder: Folder, *, as_json: Json = False) -> None:
    """Watch a run that somebody drives."""
    try:
        stop = _followed(folder, as_json=as_json)
    except KeyboardInterrupt:
        typer.secho("watching ended; the run goes on", err=True, fg="yellow")
        raise typer.Exit(INTERRUPTED) from None
    if not as_json or stop.kind != "finished":
        end(stop, folder)


def _followed(folder: Path, *, as_json: bool) -> Stop:
    """Watch a run until it stops and nobody is to go on with it."""
    from daflow.assemble.branching import plan_for
    from daflow.assemble.driving.detached import follow
    from daflow.assemble.folder import open_folder
    from daflow.cli.progress import watching

    run = open_folder(folder)
    while True:
        if as_json:
            stop = follow(run, _told)
        else:
            with watching(plan_for(run), Console()) as watch:
                stop = follow(run, watch)
        if stop.kind == "finished" or not _driven_again(run, as_json=as_json):
            return stop


def _driven_again(run: RunFolder, *, as_json: bool) -> bool:
    """Wait for the job of the queue that is to go on with a run; return whether there was one that did."""
    import time

    from daflow.assemble.driving.chain import waiting_drivers
    from daflow.assemble.driving.detached import is_driven

    told = ""
    while not is_driven(run):
        waiting = waiting_drivers(run.folder)
        if not waiting:
            return False
        if waiting[0] != told:
            told = waiting[0]
            typer.echo(f"job {told} is to go on with the run; waiting for it", err=as_json)
        time.sleep(QUEUE_SECONDS)
    return True


def tell_who_comes(folder: Path) -> None:
    """Say which job of a queue is to go on with a run that nobody drives, if one is."""
    from daflow.assemble.driving.chain import waiting_drivers

    try:
        waiting = waiting_drivers(folder)
    except PoolError as error:
        typer.echo(f"whether a job is to go on with it is not known: {error.what}")
        return
    if waiting:
        typer.echo(f"job {', '.join(waiting)} is to go on with it")


def _told(fact: Mapping[str, Any], progress: object) -> None:  # noqa: ARG001 - a watcher's signature
    typer.echo(json.dumps(fact))


def end(stop: Stop, folder: Path) -> None:
    """Say how a run stopped, and end as it did.

    Raises
    ------
    typer.Exit
        Somebody asked for it.
    daflow.errors.RunError
        It is not finished.
    """
    if stop.kind == "finished":
        typer.echo(f"finished; `daflow report {folder}` writes a page about it")
    elif stop.kind == "interrupted":
        typer.secho(
            f"laid down: {stop.reason}; `daflow resume {folder}` goes on with it", err=True, fg="yellow"
        )
        raise typer.Exit(INTERRUPTED)
    stop.check(folder)


def stop(
    folder: Folder,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="End members under way instead of waiting for them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Lay a run down, wherever it is driven."""
    from daflow.assemble.driving.stopping import stop_run
    from daflow.assemble.folder import open_folder

    run = open_folder(folder)
    try:
        answer = stop_run(run, lambda line: typer.echo(line, err=as_json), now=now)
    except KeyboardInterrupt:
        typer.secho("waiting ended; the driver has been asked, and stops", err=True, fg="yellow")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(answer.to_json(), indent=1))
        return
    if answer.found != "driven":
        typer.echo("nobody drives this run" + ("; it is finished" if answer.finished else ""))
    elif answer.finished:
        typer.echo("it came to its end before it heard of that: it is finished")
    else:
        how = "it did not answer and was killed" if answer.killed else "laid down"
        typer.echo(f"{how}, {answer.seconds:.1f} s; `daflow resume {folder}` goes on with it")
    if answer.successors:
        typer.echo(f"cancelled what would have gone on with it: job {', '.join(answer.successors)}")
    if answer.cleared:
        typer.echo(answer.cleared.told())


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=ATTACH, rich_help_panel=DRIVING)(attach)
    app.command(help=STOP, rich_help_panel=DRIVING)(stop)
