"""Run the filters side by side and set what comes out beside what others found.

python workflows/lorenz96/compare_filters.py --cycles 5000 --seeds 3 --write
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from lorenz96_filters import SCHEMES, Scheme
from lorenz96_twin import SPIN_UP, between, experiment, prior
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from daflow.numerics.filters.cycling import Scores, Watch, cycle
from daflow.report.style import LIGHT

HERE = Path(__file__).parent
BEGIN, END = "<!-- filters: begin -->", "<!-- filters: end -->"


@dataclass(frozen=True)
class Result:
    """A scheme's scores, one a seed: means over time."""

    scheme: str
    forecast_rmse: list[float]
    analysis_rmse: list[float]
    forecast_spread: list[float]
    analysis_spread: list[float]

    @property
    def mean(self) -> float:
        """The mean over seeds of the analysis' error."""
        return float(np.mean(self.analysis_rmse))

    @property
    def within(self) -> bool | None:
        """Whether it is as near to the reference as it has to be; None without one."""
        reference = SCHEMES[self.scheme].reference
        # Tables give two digits or four; a rounding error of the mean decides nothing.
        return None if reference is None else abs(self.mean - reference.rmse) <= reference.tolerance + 1e-9


def run(
    scheme: Scheme, seed: int, n_cycles: int, watch: Watch | None = None, *, spin_up: int = SPIN_UP
) -> Scores:
    """Return the scores of a scheme after the spin-up; ``watch`` is called after each cycle."""
    twin = experiment(seed, spin_up + n_cycles, scheme.every_steps)
    return cycle(scheme.stage(seed), prior(seed, scheme.n_members), twin, watch).after(spin_up)


def compare(names: Sequence[str], seeds: Sequence[int], n_cycles: int) -> list[Result]:
    """Return the results of schemes, showing on the way how far they are."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        for name in names:
            scheme = SCHEMES[name]
            total = len(seeds) * (SPIN_UP + n_cycles)
            bar = progress.add_task(f"{scheme.label}, {scheme.setting}", total=total)
            watch = _advancing(progress, bar)
            scores = [run(scheme, seed, n_cycles, watch) for seed in seeds]
            means = ([round(float(each.mean()), 6) for each in kind] for kind in zip(*scores, strict=True))
            results.append(Result(name, **dict(zip(Scores._fields, means, strict=True))))
    return results


def _advancing(progress: Progress, bar: TaskID) -> Watch:
    return lambda *_: progress.advance(bar)


def table(results: Iterable[Result]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| filter | setting | members | error of the analysis | of the forecast | spread | reference |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in results:
        scheme = SCHEMES[each.scheme]
        known = scheme.reference
        reference = "" if known is None else f"{known.rmse:g} ({known.source})"
        spread = np.ptp(each.analysis_rmse) / 2
        lines.append(
            f"| {scheme.label} | {scheme.setting} | {scheme.n_members} | {each.mean:.4f} ± {spread:.4f} | "
            f"{np.mean(each.forecast_rmse):.4f} | {np.mean(each.analysis_spread):.4f} | {reference} |"
        )
    return "\n".join(lines)


def picture(results: Sequence[Result]) -> Figure:
    """Return the errors as dots, a seed each, with spread and reference beside them."""
    figure = Figure((7.0, 0.6 + 0.3 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(results))[::-1]
    for row, each in zip(rows, results, strict=True):
        reference = SCHEMES[each.scheme].reference
        if reference is not None:
            low, width = reference.rmse - reference.tolerance, 2 * reference.tolerance
            axes.barh(row, width, 0.6, low, color=LIGHT["rule"], label="reference ± 0.01")
        axes.plot(
            [np.mean(each.analysis_spread)], [row], "|", ms=11, mew=2, color=LIGHT["truth"], label="spread"
        )
        axes.plot(
            each.analysis_rmse,
            [row] * len(each.analysis_rmse),
            "o",
            ms=4.5,
            color=LIGHT["posterior"],
            alpha=0.8,
            label="error of the analysis, a dot a seed",
        )
    schemes = [SCHEMES[each.scheme] for each in results]
    axes.set_yticks(rows, [f"{each.label}, {each.n_members} members" for each in schemes])
    axes.set_xlabel("root mean square over the ring, mean over time")
    axes.grid(axis="x", color=LIGHT["rule"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(named.values(), named.keys(), frameon=False, loc="upper right")
    return figure


def main(
    cycles: Annotated[int, typer.Option(min=1, help="How many times of observation are scored.")] = 5000,
    seeds: Annotated[int, typer.Option(min=1, help="How many experiments: seeds 1, 2, ...")] = 3,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"A filter (repeatable): {', '.join(SCHEMES)}.", show_default="all"),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put table and picture into this folder's README.")
    ] = False,
) -> None:
    """Cycle filters through twin experiments with the Lorenz-96 model and print their errors as a table.

    Ends with 1 if an error is further from its reference than it may be.
    """
    unknown = sorted(set(only or ()) - set(SCHEMES))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: the filters are {', '.join(SCHEMES)}")
    results = compare(only or list(SCHEMES), range(1, seeds + 1), cycles)
    shown = table(results)
    told = [{**asdict(each), "within": each.within} for each in results]
    typer.echo(json.dumps(told, indent=1) if as_json else shown)
    if write:
        readme = HERE / "README.md"
        said = (
            f"{cycles:,} cycles after {SPIN_UP} of spin-up, {seeds} seeds: mean ± half the range over seeds."
        )
        readme.write_text(between(readme.read_text(), BEGIN, END, f"{shown}\n\n{said}"))
        picture(results).savefig(HERE / "filters.png", dpi=130)
    if any(each.within is False for each in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
