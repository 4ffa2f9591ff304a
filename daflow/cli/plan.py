"""``daflow plan``: what a run would take on a machine or cluster, before it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daflow.cli.panels import BEFORE
from daflow.errors import ConfigError

if TYPE_CHECKING:
    from daflow.assemble.looking_ahead.planning import RunEstimate

HELP: Final = (
    "Estimate what a run would take: tasks, bytes, files, memory a worker, jobs of a queue, hours.\n\n"
    "What a forecast takes only you know: say it, or name a run that was like it. The other costs are "
    "those that were measured with daflow on two cores and a local disk; `daflow doctor --disk` measures "
    "yours. Waits in a queue are not in it. Runs nothing, writes nothing.\n\n"
    "[bold]daflow plan workflow.yaml --profile slurm --forecast-seconds 600\n\n"
    "daflow plan workflow.yaml --profile slurm --like runs/small[/]"
)


def plan(  # noqa: PLR0917 - one option a parameter
    file: Annotated[Path, typer.Argument(help="The workflow file (YAML).", show_default=False)],
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting (repeatable)."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            "--cluster",
            metavar="NAME_OR_PATH",
            help="Where to run: a file with a section execution in the place of the workflow's.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--forecast-seconds", min=0.0, help="What a forecast of a member takes, seconds."),
    ] = None,
    like: Annotated[
        Path | None, typer.Option("--like", help="A run whose forecasts took as long as these will.")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option("--slots", min=1, help="Tasks that run at once, where the workflow does not say."),
    ] = None,
    disk: Annotated[
        float, typer.Option("--disk", min=0.001, help="What the shared disk reads and writes, GB/s.")
    ] = 1.0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Estimate what a run would take."""
    from daflow.assemble.folder import open_folder
    from daflow.assemble.looking_ahead.planning import Machine, forecast_seconds_of, plan_run
    from daflow.config.load import load_workflow

    if seconds is not None and like is not None:
        raise ConfigError(
            "a forecast cannot take both what is said and what it took in another run",
            got=f"--forecast-seconds {seconds:g} and --like {like}",
            do="leave one of them out",
        )
    workflow = load_workflow(file, override or (), profile)
    if like is not None:
        seconds = forecast_seconds_of(open_folder(like))
    found = plan_run(workflow, Machine(seconds, slots, disk * 1e9))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    for part in _tables(found):
        Console().print(part)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(help=HELP, rich_help_panel=BEFORE)(plan)


def _tables(found: RunEstimate) -> Iterator[Table | Text]:
    from daflow.cli.tables import size

    sums = Table(title=f"{found.name}: {found.where}", show_header=False, title_justify="left", box=None)
    sums.add_column(style="dim")
    sums.add_column()
    limit = "" if found.worker_limit is None else f" of {size(found.worker_limit)}"
    rows = {
        "tasks": f"{found.tasks:,}",
        "store": f"{size(found.store_bytes)}, {found.files:,} files with receipts",
        "disk": f"{size(found.moved_bytes)} read and written",
        "memory": f"{size(found.worker_bytes)}{limit} a worker, without the model",
        "time": "not known" if found.seconds is None else told_time(found.seconds),
    }
    if found.core_hours is not None:
        rows["processors"] = f"{found.core_hours:,.1f} core hours"
    if found.worker_jobs:
        rows["jobs"] = f"{found.worker_jobs:,} of workers"
    if found.member_jobs:
        rows["members' jobs"] = f"{found.member_jobs:,}, {found.forecasts_at_once:,} at once"
    for name, value in rows.items():
        sums.add_row(name, value)
    yield sums
    stages = Table(box=None)
    for name in ("phase", "tasks", "each", "together"):
        stages.add_column(name, justify="left" if name == "phase" else "right")
    for stage in found.stages:
        times = ("?" if each is None else told_time(each) for each in (stage.task_seconds, stage.seconds))
        stages.add_row(stage.phase, f"{stage.tasks:,}", *times)
    yield stages
    for warning in found.warnings:
        yield Text.assemble(("note: ", "yellow"), warning)


def told_time(seconds: float) -> str:
    """Return seconds in words that one can compare: ``3.2 ms``, ``41 s``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 1:
        return f"{1e3 * seconds:.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.2g} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
