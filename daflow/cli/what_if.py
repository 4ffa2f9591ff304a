"""``daflow analyse``, ``compare`` and ``go-on``: other analyses of a forecast before one is chosen."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daflow.cli.panels import BRANCHING
from daflow.errors import DataError

if TYPE_CHECKING:
    from daflow.assemble.folder import RunFolder
    from daflow.report.analyses import AnalysisFigures

ANALYSE: Final = (
    "Try other settings of the analysis on a forecast that is there, as a branch of the run.\n\n"
    "Forecasts cost hours, analyses seconds: another localization, inversion, inflation or transform, or "
    "other observation errors, take the members and predictions of a step as they are. The run is only read; "
    "the posterior goes into RUN/branches/NAME, a run of its own that can be looked at and gone on with. The "
    "same command again goes on with what was interrupted.\n\n"
    "[bold]daflow analyse RUN --set localization.lengths.x=800\n\n"
    "daflow analyse RUN --step 0 --sweep localization.lengths.x=400,800,1600\n\n"
    "daflow compare RUN[/]"
)
COMPARE: Final = (
    "Compare the analyses of a run and its branches: a table, and a picture in RUN/branches.\n\n"
    "Misfit per observation before and after (as the update would have it were the model linear, and of the "
    "posterior's forecast where there is one: 1 is as good as errors allow); chi-square of the innovations "
    "(1: spread and errors explain them) and degrees of freedom for signal (DFS); the change of spread; how "
    "far the mean moved, in prior standard deviations; in a twin experiment the CRPS against the truth (0 is "
    "perfect), before and after. Of several variables, each has a line."
)
GO_ON: Final = (
    "Go on from a branch: forecast its posterior, and so on to the end, in the branch's folder.\n\n"
    "The run that it branched off from is left as it is. `daflow resume` of a branch does the same."
)

Folder = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def analyse(
    folder: Folder,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the branch (repeatable)."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=VALUE,VALUE",
            help="A branch for each value; of several sweeps, for each combination, at most 64.",
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option(help="Whose forecast; default: the last complete one that is analysed.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What the branch is called; default: by its settings.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Try other settings of the analysis on a forecast that is there."""
    from daflow.assemble.folder import open_folder
    from daflow.assemble.what_if.branches import analyse_all, make_branches
    from daflow.assemble.what_if.wishes import wishes_of

    run = open_folder(folder)
    wishes = wishes_of(run, override or (), sweep or (), step=step, name=name)
    both = list(zip(make_branches(run, wishes), wishes, strict=True))
    console = Console(stderr=as_json)

    @contextmanager
    def watched(branch: RunFolder) -> Iterator[Any]:
        console.print(branch.folder.name, style="bold", markup=False, highlight=False)
        with _watching(branch, console, pause=True) as watch:
            yield watch

    with _leaving_in_order():
        analyse_all([branch for branch, _ in both], watched)
    if as_json:
        told = [{"name": wish.name, "step": wish.step, "folder": str(branch.folder)} for branch, wish in both]
        typer.echo(json.dumps(told, indent=1))
    else:
        typer.echo(f"done; `daflow compare {folder}` shows them side by side, `daflow go-on` takes one up:")
        for branch, _ in both:
            typer.echo(f"  {branch.folder}")


def compare(
    folder: Folder,
    step: Annotated[
        int | None, typer.Option(help="Of this step only; default: all that have branches.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Compare the analyses of a run and its branches."""
    from daflow.assemble.folder import open_folder
    from daflow.assemble.what_if.comparison import compare as compared
    from daflow.assemble.what_if.comparison import draw

    run = open_folder(folder)
    rows = compared(run, step)
    pictures = draw(run, rows)
    if as_json:
        told = {"analyses": [row.to_json() for row in rows], "pictures": [str(path) for path in pictures]}
        typer.echo(json.dumps(told, indent=1))
        return
    for table in comparison_tables(rows):
        Console().print(table)
    typer.echo(f"picture: {pictures[0]}")


def go_on(folder: Annotated[Path, typer.Argument(help="The branch's folder.", show_default=False)]) -> None:
    """Go on from a branch to the end."""
    import daflow
    from daflow.assemble.branching import branching_of
    from daflow.assemble.driving.launch import drive
    from daflow.assemble.folder import open_folder

    branch = open_folder(folder)
    if branching_of(branch.folder) is None:
        raise DataError(
            f"the run in {folder} is no branch",
            allowed="RUN/branches/NAME, as `daflow analyse` makes it",
            do="`daflow resume` goes on with a run",
        )
    with _leaving_in_order(), _watching(branch, Console()) as watch:
        stop = drive(branch, watch)
    if stop.kind == "finished":
        typer.echo(f"finished; report: {daflow.open_run(branch.folder).report()}")
    stop.check(branch.folder)


def comparison_tables(rows: Sequence[AnalysisFigures]) -> Iterator[Table]:
    """Yield what `daflow compare` says: of each analysis as a whole, then of each variable."""
    of_all: dict[str, list[str]] = {
        "misfit\nbefore": [_number(row.misfit_before) for row in rows],
        "after,\nif linear": [_number(row.misfit_linear) for row in rows],
        "after,\nforecast": [_number(row.misfit_after) for row in rows],
        "chi²": [_number(row.chi_square) for row in rows],
        "DFS": [_number(row.dfs) for row in rows],
        "seconds": [_number(row.seconds) for row in rows],
    }
    yield _table(rows, of_all)
    pairs = [(row, name) for row in rows for name in row.spread_reduction or row.moved or row.crps]
    of_each: dict[str, list[str]] = {
        "variable": [name for _, name in pairs],
        "spread": [_percent(row.spread_reduction.get(name)) for row, name in pairs],
        "move": [_number(row.moved.get(name)) for row, name in pairs],
        "CRPS\nbefore": [_number(row.crps_before.get(name)) for row, name in pairs],
        "CRPS\nafter": [_number(row.crps.get(name)) for row, name in pairs],
    }
    if pairs:
        yield _table([row for row, _ in pairs], of_each)


def _table(rows: Sequence[AnalysisFigures], columns: Mapping[str, Sequence[str]]) -> Table:
    """Return a line a row, and the columns that have anything in them."""
    table = Table(box=None)
    told = {name: cells for name, cells in columns.items() if any(cells)}
    table.add_column("step", justify="right")
    table.add_column("analysis", overflow="fold", min_width=16)
    for name in told:
        table.add_column(name, justify="left" if name == "variable" else "right", no_wrap=True)
    for before, row, *cells in zip((None, *rows), rows, *told.values(), strict=False):
        done = row.state in {"analysed", "finished"} or not row.changed
        called = row.name if done else f"{row.name} ({row.state})"
        named = ("", "") if row is before else (str(row.step), Text(called))
        table.add_row(*named, *cells, style=None if done else "dim")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _percent(reduction: float | None) -> str:
    return "" if reduction is None else f"{-100 * reduction:+.3g} %"


@contextmanager
def _watching(branch: RunFolder, console: Console, *, pause: bool = False) -> Iterator[Any]:
    from daflow.assemble.branching import plan_for
    from daflow.cli.progress import watching

    plan = plan_for(branch)
    with watching(replace(plan, pause=plan.branched) if pause else plan, console) as watch:
        yield watch


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """Let the end of a batch job be what Ctrl-C is: the journal is closed, and nothing lost."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(help=ANALYSE, rich_help_panel=BRANCHING)(analyse)
    app.command(help=COMPARE, rich_help_panel=BRANCHING)(compare)
    app.command("go-on", help=GO_ON, rich_help_panel=BRANCHING)(go_on)
