"""Run the shrinkage filter and local filters on the ocean gyre and set their errors side by side.

::

    python workflows/quasigeostrophic/compare_gyre.py --write
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from gyre_filters import FILTERS
from gyre_twin import Basin, climatology, experiment, snapshots
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from daflow.errors import DataError
from daflow.names import Purpose
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.filters.cycling import cycle, filtering, rms
from daflow.report.style import LIGHT

HERE = Path(__file__).parent
BEGIN, END = "<!-- filters: begin -->", "<!-- filters: end -->"
SPIN_UP: Final = 50
N_SNAPSHOTS: Final = 300
START_SHARE: Final = 0.1
"""Members start from the truth and so much of a snapshot's departure: speeds do not tell the flow's sense."""
COLOURS: Final = ("posterior", "truth", "prior", "compute", "write")


@dataclass(frozen=True)
class Result:
    """What a filter's runs end with, one number a run; None where a run was lost to a model that blew up."""

    name: str
    n_members: int
    rmse: list[float | None]
    spread: list[float | None]


def members(states: FloatArray, start: FloatArray, n_members: int, seed: int) -> FloatArray:
    """Return members (n_members, n_points) around the truth's first state."""
    chosen = stream(seed, Purpose.PRIOR, 2).permutation(len(states))[:n_members]
    return start + START_SHARE * (states[chosen] - states.mean(axis=0))


def compare(
    basin: Basin, names: Sequence[str], sizes: Sequence[int], n_runs: int, n_days: int
) -> list[Result]:
    """Return the results of filters, showing on the way how far they are."""
    results: dict[tuple[str, int], Result] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("runs", total=len(names) * len(sizes) * n_runs)
        states = snapshots(basin, N_SNAPSHOTS, seed=0)
        target = climatology(basin, states)
        for seed in range(1, n_runs + 1):
            start, seen = experiment(basin, seed, SPIN_UP + n_days)
            for name in names:
                for n_members in sizes:
                    filtered = FILTERS[name].make(basin, target, FILTERS[name].inflation, seed)
                    result = results.setdefault((name, n_members), Result(name, n_members, [], []))
                    prior = members(states, start, n_members, seed)
                    try:
                        with np.errstate(over="ignore", invalid="ignore"):
                            scores = cycle(filtering(basin.days(1), filtered), prior, seen).after(SPIN_UP)
                        result.rmse.append(round(rms(scores.analysis_rmse), 4))
                        result.spread.append(round(rms(scores.analysis_spread), 4))
                    except DataError:
                        result.rmse.append(None)
                        result.spread.append(None)
                    progress.advance(bar)
    return list(results.values())


def table(results: Sequence[Result]) -> str:
    """Return the results as a table in Markdown."""
    heads = ("filter", "members", "error of the analysis", "spread", "lost runs")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in results:
        lost = sum(value is None for value in each.rmse)
        cells = (FILTERS[each.name].title, str(each.n_members), _told(each.rmse), _told(each.spread))
        lines.append(f"| {' | '.join(cells)} | {lost} of {len(each.rmse)} |")
    return "\n".join(lines)


def _told(values: Sequence[float | None]) -> str:
    there = [value for value in values if value is not None]
    return f"{np.mean(there):.3f} ± {np.ptp(there) / 2:.3f}" if there else "-"


def picture(results: Sequence[Result]) -> Figure:
    """Return the errors over the number of members."""
    figure = Figure((5.6, 3.2), layout="constrained")
    panel = figure.subplots()
    names = list(dict.fromkeys(each.name for each in results))
    for name, colour in zip(names, COLOURS, strict=False):
        there = [each for each in results if each.name == name and any(v is not None for v in each.rmse)]
        sizes = [each.n_members for each in there]
        errors = [np.mean([v for v in each.rmse if v is not None]) for each in there]
        panel.plot(sizes, errors, "o-", ms=4, color=LIGHT[colour], label=FILTERS[name].title)
    panel.set_xlabel("members")
    panel.set_title("error of the analysis (streamfunction)", loc="left", fontsize=9)
    panel.set_yscale("log")
    panel.grid(color=LIGHT["rule"], linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=8)
    return figure


def between(text: str, content: str) -> str:
    """Return a text with what stands between the two marks replaced."""
    pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text)


def main(
    rows: Annotated[int, typer.Option(min=15, help="Grid points along y; columns are half as many.")] = 63,
    sizes: Annotated[str, typer.Option(help="Numbers of members, with commas between.")] = "10,16,25",
    days: Annotated[int, typer.Option(min=1, help="How many days are scored.")] = 100,
    runs: Annotated[int, typer.Option(min=1, help="How many experiments: seeds 1, 2, ...")] = 2,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put table and picture into this folder's README.")
    ] = False,
) -> None:
    """Cycle filters on the wind-driven ocean gyre, observed once a day by the speed of its flow."""
    columns = (rows - 1) // 2
    basin = Basin((rows, columns), (rows + 1) // 2)
    counts = [int(size) for size in sizes.split(",")]
    results = compare(basin, list(FILTERS), counts, runs, days)
    shown = table(results)
    typer.echo(json.dumps([asdict(each) for each in results], indent=1) if as_json else shown)
    if write:
        readme = HERE / "README.md"
        said = (
            f"{rows} x {columns} points, {days} days after {SPIN_UP} of spin-up, {runs} runs: mean ± half the"
        )
        readme.write_text(between(readme.read_text(), f"{shown}\n\n{said} range."))
        picture(results).savefig(HERE / "filters.png", dpi=130)


if __name__ == "__main__":
    typer.run(main)
