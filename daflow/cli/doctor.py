"""``daflow doctor``: what daflow runs on, what is slow there, and what it makes of a workflow."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from daflow.errors import DataError

INTERRUPTED: Final = 130
HELP: Final = (
    "Look at what daflow runs on, and say what is wrong or slow.\n\n"
    "Versions, cores and memory; the disk: its file system, its room, how long a small file takes to be "
    "durable. With [bold]--disk .[/] it is measured, in ten to twenty seconds: by itself, through the page "
    "cache, and by the chunk files of a run, in several sizes. Nothing is left behind, also on Ctrl-C.\n\n"
    "With a workflow file: how large its slices and chunks are by daflow's rule, in how many files, and how "
    "long this disk takes for one update.\n\n"
    "[bold]daflow doctor\n\ndaflow doctor --disk /scratch/me\n\ndaflow doctor workflow.yaml --disk .[/]"
)


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(help="A workflow file: say what its slices are, and what the disk makes of them."),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the workflow (repeatable)."),
    ] = None,
    disk: Annotated[
        Path | None,
        typer.Option(
            "--disk",
            metavar="FOLDER",
            help="Measure the disk under this folder ('.': here); without it, the disk is only looked at.",
        ),
    ] = None,
    n_bytes: Annotated[
        str, typer.Option("--bytes", metavar="SIZE", help="How much may be written to measure it.")
    ] = "1GB",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Look at what daflow runs on, and say what is wrong or slow."""
    from daflow.assemble.looking_ahead.examination import examine  # noqa: PLC0415 - a second of imports, when asked for
    from daflow.cli.examination import examination_told  # noqa: PLC0415
    from daflow.config.load import load_workflow  # noqa: PLC0415

    workflow = None if file is None else load_workflow(file, override or ())
    most = None if disk is None else _amount(n_bytes)
    with _leaving_nothing(), _bar(shown=disk is not None and not as_json) as watch:
        found = examine(disk or Path(), most, workflow, watch)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        Console().print(examination_told(found))


def _amount(text: str) -> int:
    from daflow.config.execution import UNITS, bytes_of  # noqa: PLC0415

    amount = bytes_of(text)
    if amount is None:
        raise DataError("--bytes is not an amount", got=text, allowed=f"a number and {', '.join(UNITS)}: 1GB")
    return amount


@contextmanager
def _leaving_nothing() -> Iterator[None]:
    """Leave on Ctrl-C, or when a batch system ends the job, as after a good end."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        typer.secho("interrupted; nothing is left behind", err=True, fg="yellow")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Return who shows how far a measurement is, on standard error: only on a terminal, gone afterwards."""
    from rich.progress import (  # noqa: PLC0415 - only where something is measured
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("measuring"), BarColumn(bar_width=28), TextColumn("{task.description}"))
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
