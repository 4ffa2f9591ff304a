"""Run the filter with a shrunk covariance for several ensembles and set it beside what others found.

::

    python workflows/lorenz96/compare_shrinkage.py --write
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from lorenz96_twin import START, N, between, model
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from daflow.names import TRUTH, Purpose
from daflow.numerics.arrays.ensembles import mean_of
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.diagnostics.rank_histogram import divergence_from_uniform, ranks
from daflow.numerics.filters.cycling import Analysis, cycle, filtering, rms, twin
from daflow.numerics.filters.shrinkage import apply_shrinkage, shrinkage_etkf
from daflow.numerics.filters.shrinkage_target import ShrinkageTarget, matched_scale, rblw_gamma, target_of
from daflow.numerics.inflation.fixed import inflate_anomalies
from daflow.report.style import LIGHT

HERE = Path(__file__).parent
BEGIN, END = "<!-- shrinkage: begin -->", "<!-- shrinkage: end -->"
SPIN_UP: Final = 200
INFLATION: Final = 1.1


@dataclass(frozen=True)
class Setting:
    """An ensemble, dynamic and synthetic, and the weight of the target."""

    n_members: int
    n_synthetic: int
    gamma: float | None
    """None: that of Rao, Blackwell, Ledoit and Wolf, anew at each analysis."""
    known_rmse: float
    known_spread: float
    """From run to run, of `known_rmse`."""
    known_divergence: float | None = None

    @property
    def weight(self) -> str:
        """How the weight is called."""
        return "RBLW" if self.gamma is None else f"{self.gamma:g}"


SETTINGS: Final = (
    Setting(5, 100, 0.85, 0.4258, 0.0061, 0.046),
    Setting(5, 50, 0.85, 0.4733, 0.0103, 0.063),
    Setting(5, 25, 0.85, 0.5602, 0.0127, 0.094),
    Setting(5, 10, 0.85, 0.9026, 0.0378, 0.221),
    Setting(5, 100, None, 0.4886, 0.0211, 0.110),
    Setting(5, 25, None, 0.673, 0.034, 0.202),
    Setting(5, 10, None, 1.18, 0.08, 0.407),
    Setting(14, 100, 0.1, 0.307, 0.088, 0.0088),
    Setting(14, 25, 0.1, 0.315, 0.029, 0.0078),
    Setting(14, 10, 0.1, 0.366, 0.049, 0.033),
    Setting(14, 100, None, 0.3738, 0.0037, 0.0214),
    Setting(14, 25, None, 0.4517, 0.0049, 0.052),
    Setting(14, 10, None, 0.593, 0.009, 0.109),
    Setting(14, 100, 0.0, 2.4, 0.5),
)


@dataclass(frozen=True)
class Result:
    """What a setting's runs end with, one number a run."""

    setting: Setting
    rmse: list[float]
    spread: list[float]
    gamma: list[float]
    divergence: list[float | None]
    """Of each component's ranks from uniform, mean over the ring; None where a rank never occurs."""


def climatology(seed: int = 0, n_members: int = 1000, n_times: int = 900) -> ShrinkageTarget:
    """Return the covariance of the model's own states, equal all around the ring, as a target."""
    states = START + stream(seed, Purpose.PRIOR).standard_normal((n_members, N))
    forecast = model()
    states = model(400)(states)
    products, sums = np.zeros((N, N)), np.zeros(N)
    for _ in range(n_times):
        states = forecast(states)
        products += states.T @ states
        sums += states.sum(axis=0)
    n_states = n_members * n_times
    mean = sums.mean() / n_states
    whole = products / n_states - mean**2
    row = np.mean([np.roll(whole[i], -i) for i in range(N)], axis=0)
    row = 0.5 * (row + np.roll(row[::-1], 1))
    return target_of(np.array([np.roll(row, i) for i in range(N)]))


def shrunk(setting: Setting, target: ShrinkageTarget, seed: int, gammas: list[float]) -> Analysis:
    """Return the analysis of a setting; the weights that it finds are appended to a list."""

    def analyse(number: int, forecast: FloatArray, observed: FloatArray) -> FloatArray:
        wide = inflate_anomalies(forecast, INFLATION)
        found = matched_scale(target.project(wide))
        gamma = rblw_gamma(found) if setting.gamma is None else setting.gamma
        gammas.append(gamma)
        draws = stream(seed, Purpose.INFLATION, number).standard_normal((setting.n_synthetic, N))
        synthetic = target.synthetic(mean_of(wide), found.scale, draws)
        transform = shrinkage_etkf(wide, synthetic, observed, np.ones(N), gamma)
        return apply_shrinkage(transform, wide, synthetic)

    return analyse


def run(setting: Setting, target: ShrinkageTarget, seed: int, n_cycles: int) -> tuple[float, ...]:
    """Return error, spread, mean weight and divergence of ranks of a run, after its spin-up."""
    errors = stream(seed, Purpose.OBSERVATION_NOISE).standard_normal((SPIN_UP + n_cycles, N))
    start = model(400)((START + 0.01 * stream(seed, Purpose.PRIOR, TRUTH).standard_normal(N))[np.newaxis])[0]
    seen = twin(model(), start, errors)
    prior = start + stream(seed, Purpose.PRIOR).standard_normal((setting.n_members, N))
    counts = np.zeros((N, setting.n_members + 1))
    gammas: list[float] = []

    def count(number: int, analysis: FloatArray) -> None:
        if number >= SPIN_UP:
            counts[np.arange(N), ranks(analysis, seen.truth[number])] += 1

    stage = filtering(model(), shrunk(setting, target, seed, gammas))
    scores = cycle(stage, prior, seen, count).after(SPIN_UP)
    # The components are alike: their mean is known better than any one of them.
    divergence = float(np.mean([divergence_from_uniform(each) for each in counts]))
    return (
        rms(scores.analysis_rmse),
        rms(scores.analysis_spread),
        float(np.mean(gammas[SPIN_UP:])),
        divergence,
    )


def compare(settings: Sequence[Setting], n_runs: int, n_cycles: int) -> list[Result]:
    """Return the results of settings, showing on the way how far they are."""
    target = climatology()
    results = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("runs", total=len(settings) * n_runs)
        for setting in settings:
            found = []
            for seed in range(1, n_runs + 1):
                found.append(run(setting, target, seed, n_cycles))
                progress.advance(bar)
            rmse, spread, gamma, divergence = (
                [round(each, 5) for each in kind] for kind in zip(*found, strict=True)
            )
            finite = [each if np.isfinite(each) else None for each in divergence]
            results.append(Result(setting, rmse, spread, gamma, finite))
    return results


def table(results: Sequence[Result]) -> str:
    """Return the results as a table in Markdown."""
    scores = ("error", "reference", "spread", "mean weight", "divergence of ranks", "reference")
    heads = ("members", "synthetic", "weight", *scores)
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in results:
        setting = each.setting
        apart = np.std(each.rmse, ddof=1) if len(each.rmse) > 1 else 0.0
        known = "" if setting.known_divergence is None else f"{setting.known_divergence:.3f}"
        cells = (
            str(setting.n_members),
            str(setting.n_synthetic),
            setting.weight,
            f"{np.mean(each.rmse):.3f} ± {apart:.3f}",
            f"{setting.known_rmse:.3f} ± {setting.known_spread:.3f}",
            f"{np.mean(each.spread):.3f}",
            f"{np.mean(each.gamma):.3f}",
            f"{np.mean(_numbers(each.divergence)):.3f}",
            known,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(results: Sequence[Result]) -> Figure:
    """Return error and divergence of ranks over the number of synthetic members."""
    figure = Figure((7.0, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    shrinking = [each for each in results if each.setting.gamma != 0]
    kinds = sorted({(each.setting.n_members, each.setting.weight) for each in shrinking})
    for (n_members, weight), colour in zip(kinds, ("posterior", "truth", "compute", "write"), strict=False):
        chosen = [
            each for each in shrinking if (each.setting.n_members, each.setting.weight) == (n_members, weight)
        ]
        for panel, values, known in zip(
            panels,
            (
                [np.mean(each.rmse) for each in chosen],
                [np.mean(_numbers(each.divergence)) for each in chosen],
            ),
            (
                [each.setting.known_rmse for each in chosen],
                [each.setting.known_divergence for each in chosen],
            ),
            strict=True,
        ):
            n_synthetic = [each.setting.n_synthetic for each in chosen]
            panel.plot(
                n_synthetic, values, "o-", ms=4, color=LIGHT[colour], label=f"{n_members} members, {weight}"
            )
            panel.plot(n_synthetic, known, "_", ms=14, mew=1.5, color=LIGHT["ink"])
    panels[0].set_title("error of the analysis", loc="left", fontsize=9)
    panels[1].set_title("divergence of ranks from uniform", loc="left", fontsize=9)
    panels[0].plot([], [], "_", ms=14, mew=1.5, color=LIGHT["ink"], label="reference")
    panels[0].legend(frameon=False, fontsize=8)
    for panel in panels:
        panel.set_xlabel("synthetic members")
        panel.set_yscale("log")
        panel.grid(color=LIGHT["rule"], linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None] or [float("nan")]


def main(
    cycles: Annotated[int, typer.Option(min=1, help="How many times of observation are scored.")] = 2000,
    runs: Annotated[int, typer.Option(min=1, help="How many experiments: seeds 1, 2, ...")] = 5,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put table and picture into this folder's README.")
    ] = False,
) -> None:
    """Cycle the shrinkage filter of Popov et al. (2021) on Lorenz-96 with 5 and 14 members."""
    results = compare(SETTINGS, runs, cycles)
    shown = table(results)
    typer.echo(json.dumps([asdict(each) for each in results], indent=1) if as_json else shown)
    if write:
        readme = HERE / "README.md"
        said = (
            f"{cycles:,} cycles after {SPIN_UP} of spin-up, {runs} runs: mean ± standard deviation over runs."
        )
        readme.write_text(between(readme.read_text(), BEGIN, END, f"{shown}\n\n{said}"))
        picture(results).savefig(HERE / "shrinkage.png", dpi=130)


if __name__ == "__main__":
    typer.run(main)
