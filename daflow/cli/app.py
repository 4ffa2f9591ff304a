"""The commands, and what they end with.

Exit codes: 0 finished; 1 the run could not finish (the message says whether it can be resumed); 2 what
was given cannot be used; 130 interrupted.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

import daflow
from daflow.cli import check, diagnose, doctor, driving, keys, panels, plan, submitting, what_if
from daflow.cli.orders import Drop, MinMembers, Retry, RetryFailed, orders_of
from daflow.errors import DaflowError, DataError, InputError
from daflow.runs.orders import NONE, Orders

OK, NOT_FINISHED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class _Told(TyperGroup):
    """Commands whose errors are told in words, not in tracebacks."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words that were given: a detached driver gets the same ones."""
        ctx.meta[driving.GIVEN] = tuple(args)
        return list(super().parse_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn what it raises into a message and an exit code."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            _end(error, BAD_INPUT)
        except DaflowError as error:
            _end(error, NOT_FINISHED)
        except (KeyboardInterrupt, Exception) as error:
            if not _interrupted_by(error):
                raise
            typer.secho("interrupted; `daflow resume` goes on from here", err=True, fg="yellow")
            raise typer.Exit(INTERRUPTED) from None


def _interrupted_by(error: BaseException) -> bool:
    """Return whether it was Ctrl-C, or followed from it: libraries that are torn down raise their own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _end(error: DaflowError, code: int) -> NoReturn:
    typer.secho(f"error: {error}", err=True, fg="red")
    raise typer.Exit(code) from None


app = typer.Typer(
    cls=_Told,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Ensemble data assimilation and inverse problems, distributed and resumable.\n\n"
    "Start with [bold]daflow init[/], look with [bold]daflow check[/], then [bold]daflow run[/].",
)


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - an option's callback
    if asked:
        from importlib.metadata import version  # a tenth of the time that help takes

        typer.echo(f"daflow {version('daflow')}")
        raise typer.Exit


@app.callback()
def _before(
    *,
    told: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


File = Annotated[Path, typer.Argument(help="The workflow file (YAML).", show_default=False)]
Folder = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting: --set ensemble.size=20 (repeatable)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command(rich_help_panel=panels.BEFORE)
def init(
    file: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("workflow.yaml"),
) -> None:
    """Write a first workflow file, with comments; it runs in seconds."""
    from daflow.config.load import starter_text

    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(starter_text())
    except FileExistsError as error:
        raise DataError(f"{file} is there already", do="name another file, or move it away") from error
    except OSError as error:
        raise DataError(f"{file} cannot be written", got=error.strerror, do="name another place") from error
    typer.echo(f"wrote {file}; now try:\n  daflow check {file}\n  daflow run {file} --run runs/first")


check.register(app)
plan.register(app)


@app.command(rich_help_panel=panels.DRIVING)
def run(
    ctx: typer.Context,
    file: File,
    folder: Annotated[
        Path, typer.Option("--run", help="Where the run goes: a new folder.", show_default=False)
    ],
    override: Overrides = None,
    *,
    profile: check.Profile = None,
    detach: driving.Detach = False,
) -> None:
    """Run a workflow. Ctrl-C leaves a run that resumes; the same command again goes on with it, too."""
    from daflow.assemble.folder import make_run
    from daflow.config.load import load_workflow

    workflow = load_workflow(file, override or (), profile)
    made = make_run(workflow, folder, file.read_text(encoding="utf-8"))
    if detach:
        driving.detach(ctx, made)
    else:
        _drive(made)


@app.command(rich_help_panel=panels.DRIVING)
def resume(
    ctx: typer.Context,
    folder: Folder,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of execution or policy."),
    ] = None,
    retry: Retry = None,
    drop: Drop = None,
    min_members: MinMembers = None,
    *,
    profile: check.Profile = None,
    retry_failed: RetryFailed = False,
    detach: driving.Detach = False,
) -> None:
    """Go on with a run from where it stopped, was interrupted or killed."""
    from daflow.assemble.folder import open_folder, with_overrides

    orders = orders_of(retry, drop, min_members, retry_failed=retry_failed)
    made = with_overrides(open_folder(folder), override or (), profile)
    if detach:
        driving.detach(ctx, made)
    else:
        _drive(made, orders)


@app.command(rich_help_panel=panels.LOOKING)
def status(folder: Folder, *, as_json: Json = False) -> None:
    """Say how a run stands: what is done, who failed and why."""
    from daflow.cli.tables import status_tables

    seen = daflow.open_run(folder).status()
    if as_json:
        typer.echo(json.dumps(seen.to_json(), indent=1))
    else:
        for part in status_tables(seen):
            Console().print(part)
        if not seen.driver and seen.state != "finished":
            driving.tell_who_comes(folder)


@app.command(rich_help_panel=panels.LOOKING)
def report(
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where; default: report.html in the run.")
    ] = None,
) -> None:
    """Write a page with pictures about a run, finished or not."""
    typer.echo(daflow.open_run(folder).report(output))


@app.command(rich_help_panel=panels.LOOKING)
def logs(
    folder: Folder,
    member: Annotated[int, typer.Option(help="The member's number; -1 is the truth of a twin experiment.")],
    step: Annotated[int | None, typer.Option(help="Of this step only; default: all.")] = None,
) -> None:
    """Print what a member's attempts left in their logs."""
    from daflow.assemble.folder import open_folder
    from daflow.assemble.reading.opened import Run
    from daflow.execution.tasks.member import log_files

    made = open_folder(folder)
    n_members, n_steps = made.workflow.ensemble.size, Run(made).n_steps
    if not -1 <= member < n_members or not 0 <= (step or 0) <= n_steps:
        raise DataError(
            f"there is nobody to have left such logs in {folder}",
            got=f"member {member}" if step is None else f"member {member}, step {step}",
            allowed=f"members 0 to {n_members - 1}, -1 for the truth; steps 0 to {n_steps}",
        )
    found = log_files(made.folder, member, step)
    if not found:
        raise DataError(
            f"member {member} has left no logs in {folder}",
            do="only models that write logs, and attempts that failed, leave some; see `daflow status`",
        )
    for path in found:
        text = path.read_text(encoding="utf-8", errors="replace")
        typer.secho(f"==> {path}" + ("" if text else "  (empty)"), bold=True)
        if text:
            typer.echo(text)


app.command(help=keys.HELP, rich_help_panel=panels.BEFORE)(keys.schema)
app.command(help=diagnose.HELP, rich_help_panel=panels.LOOKING)(diagnose.diagnose)
app.command(help=doctor.HELP, rich_help_panel=panels.BEFORE)(doctor.doctor)
what_if.register(app)
driving.register(app)
submitting.register(app)


def _drive(made: Any, orders: Orders = NONE) -> None:
    from daflow.assemble.branching import plan_for
    from daflow.assemble.driving.launch import drive
    from daflow.assemble.driving.sessions import session_here
    from daflow.cli.progress import watching

    session = session_here()
    # A batch system ends a job with SIGTERM: leave as on Ctrl-C, with the journal closed.
    signal.signal(signal.SIGTERM, _interrupt)
    with watching(plan_for(made), Console()) as watch:
        stop = drive(made, watch, orders=orders, session=session)
    if stop.kind == "finished":
        typer.echo(f"finished; report: {daflow.open_run(made.folder).report()}")
    else:
        driving.end(stop, made.folder)


def _interrupt(signum: int, frame: object) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt
