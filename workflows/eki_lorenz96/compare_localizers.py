"""Run ensemble Kalman inversion with every localizer and show its misfit, iteration by iteration.

::

    python workflows/eki_lorenz96/compare_localizers.py --write
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
from localizers import LOCALIZERS, Localization, N
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from daflow.models.integrators import RungeKutta4
from daflow.models.lorenz96 import Ring
from daflow.models.trajectories import member_fastest
from daflow.names import TRUTH, Purpose
from daflow.numerics.arrays.random import stream
from daflow.numerics.arrays.validation import FloatArray
from daflow.numerics.inversion.updates import perturbed_observation_update
from daflow.numerics.smoothers.kalman_inversion import (
    accelerated,
    equivalent_alpha,
    misfit_of_mean,
    next_momentum,
    perturbed_targets,
)
from daflow.report.style import LIGHT

HERE = Path(__file__).parent
BEGIN, END = "<!-- localizers: begin -->", "<!-- localizers: end -->"
N_MEMBERS: Final = 20
N_ITERATIONS: Final = 20
TIME_STEP: Final = 0.05
STEPS: Final = 8
"""Of the model between parameters and predictions."""
SPIN_UP: Final = 20_000
SHOWN: Final = (1, 2, 3, 5, 10, 15, 20)
VARIANCES: Final = np.ones(N)
SCHEMES: Final = ("momentum", "perturbed")
STYLES: Final = {"nice_fisher": "--", "nice_ekp": "--", "delta": ":"}


@dataclass(frozen=True)
class Result:
    """A localizer's misfits of the mean, (seeds, iterations); None where they are not finite."""

    localizer: str
    scheme: str
    misfits: list[list[float | None]]

    @property
    def array(self) -> FloatArray:
        """The same with NaN for None."""
        return np.array(self.misfits, dtype=np.float64)


def forecast(states: FloatArray, n_steps: int = STEPS) -> FloatArray:
    """Return states (n_members, 200) so many steps later; what overflows is not finite."""
    moving = member_fastest(states)
    ring = Ring(len(moving), N, 8.0)
    with np.errstate(over="ignore", invalid="ignore"):
        return RungeKutta4(ring.tendency, ring.stage, TIME_STEP, moving).carry(n_steps)


def observations(seeds: Sequence[int]) -> FloatArray:
    """Return for each seed a state of the climatology with an error of variance 1 (n_seeds, 200)."""
    starts = np.array([stream(seed, Purpose.PRIOR, TRUTH).standard_normal(N) for seed in seeds])
    errors = np.array([stream(seed, Purpose.OBSERVATION_NOISE).standard_normal(N) for seed in seeds])
    seen: FloatArray = forecast(starts, SPIN_UP) + errors
    return seen


def invert(localization: Localization, scheme: str, seed: int, observed: FloatArray) -> list[float | None]:
    """Return the misfit of the mean of the ensemble that enters each iteration."""
    seen = kept = stream(seed, Purpose.PRIOR).standard_normal((N_MEMBERS, N))
    theta = 1.0
    misfits: list[float | None] = []
    while len(misfits) < N_ITERATIONS:
        predicted = forecast(seen)
        # Beyond it the covariances of what is still finite overflow.
        if not np.abs(predicted).max() < 1e100:
            return misfits + [None] * (N_ITERATIONS - len(misfits))
        misfits.append(round(misfit_of_mean(predicted, observed, VARIANCES), 5))
        draws = stream(seed, Purpose.OBSERVATION_PERTURBATION, len(misfits))
        updated = _step(localization, scheme, (seen, predicted, observed), draws)
        if scheme == "momentum":
            theta_before, theta = theta, next_momentum(theta)
            seen, kept = accelerated(updated, kept, theta, theta_before), updated
        else:
            seen = updated
    return misfits


def _step(
    localization: Localization,
    scheme: str,
    given: tuple[FloatArray, FloatArray, FloatArray],
    draws: np.random.Generator,
) -> FloatArray:
    parameters, predicted, observed = given
    targets = np.broadcast_to(observed, predicted.shape)
    if scheme == "perturbed":
        targets = perturbed_targets(observed, VARIANCES, 1.0, draws.standard_normal(predicted.shape))
    cross, own = localization.weights(parameters, predicted, draws)
    return perturbed_observation_update(
        parameters,
        predicted,
        targets,
        VARIANCES,
        alpha=equivalent_alpha(1.0, N_MEMBERS),
        state_obs_taper=cross,
        obs_obs_taper=own,
    )


def compare(names: Sequence[str], seeds: Sequence[int]) -> list[Result]:
    """Return the results of localizers with both schemes, showing on the way how far they are."""
    results = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("inversions", total=len(SCHEMES) * len(names) * len(seeds))
        all_observed = observations(seeds)
        for scheme in SCHEMES:
            for name in names:
                misfits = []
                for seed, observed in zip(seeds, all_observed, strict=True):
                    misfits.append(invert(LOCALIZERS[name], scheme, seed, observed))
                    progress.advance(bar)
                results.append(Result(name, scheme, misfits))
    return results


def table(results: Sequence[Result], scheme: str) -> str:
    """Return the results of a scheme as a table in Markdown."""
    heads = ("localizer", *(str(number) for number in SHOWN), "least to largest at 20", "reference at 20")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in results:
        if each.scheme != scheme:
            continue
        misfits, localization = each.array, LOCALIZERS[each.localizer]
        means = [misfits[:, number - 1].mean() for number in SHOWN]
        last = misfits[:, -1]
        cells = (
            localization.label,
            *(f"{mean:.2f}" if mean < 1e4 else f"{mean:.0e}" if np.isfinite(mean) else "-" for mean in means),
            f"{last.min():.2f} to {last.max():.2f}" if np.isfinite(last).all() else _lost(misfits),
            localization.known_momentum if scheme == "momentum" else localization.known_perturbed,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _lost(misfits: FloatArray) -> str:
    finite = np.isfinite(misfits).all(axis=1)
    return f"not finite for {np.count_nonzero(~finite)} of {len(misfits)} seeds"


def picture(results: Sequence[Result]) -> Figure:
    """Return the misfits over the iterations, mean over seeds, of what stays finite."""
    figure = Figure((7.4, 3.4), layout="constrained")
    colours = ("prior", "compute", "write", "truth", "posterior", "model", "read", "ink", "muted", "other")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, scheme in zip(panels, SCHEMES, strict=True):
        chosen = [each for each in results if each.scheme == scheme and np.isfinite(each.array).all()]
        named = [name for name in LOCALIZERS if LOCALIZERS[name].settles]
        for each in chosen:
            at = named.index(each.localizer) if each.localizer in named else len(named)
            label, colour = LOCALIZERS[each.localizer].label, LIGHT[colours[at % len(colours)]]
            style = STYLES.get(each.localizer, "-")
            steps = np.arange(1, N_ITERATIONS + 1)
            panel.plot(steps, each.array.mean(axis=0), style, color=colour, lw=1.4, label=label)
        panel.axhline(1.0, color=LIGHT["ink"], lw=0.6, ls=":")
        panel.set_title(f"{scheme} steps", loc="left", fontsize=9)
        panel.set_xlabel("iteration")
        panel.set_yscale("log")
        panel.grid(color=LIGHT["rule"], linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("misfit of the mean, per observation")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=7
    )
    return figure


def main(
    seeds: Annotated[
        int, typer.Option(min=1, help="How many truths, errors and priors: seeds 1, 2, ...")
    ] = 10,
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"A localizer (repeatable): {', '.join(LOCALIZERS)}.", show_default="all"),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Put tables and picture into this folder's README.")
    ] = False,
) -> None:
    """Invert Lorenz-96 for its initial state with every localizer and print the misfits as tables."""
    unknown = sorted(set(only or ()) - set(LOCALIZERS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: the localizers are {', '.join(LOCALIZERS)}")
    results = compare(only or list(LOCALIZERS), range(1, seeds + 1))
    shown = "\n\n".join(f"With {scheme} steps:\n\n{table(results, scheme)}" for scheme in SCHEMES)
    typer.echo(json.dumps([asdict(each) for each in results]) if as_json else shown)
    if write:
        readme = HERE / "README.md"
        pattern = re.compile(f"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
        said = f"{shown}\n\nMeans over {seeds} seeds."
        text = pattern.sub(lambda found: f"{found[1]}{said}\n{found[2]}", readme.read_text())
        readme.write_text(text)
        picture(results).savefig(HERE / "localizers.png", dpi=130)


if __name__ == "__main__":
    typer.run(main)
