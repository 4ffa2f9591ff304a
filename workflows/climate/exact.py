"""Say what the posterior of the climate workflow is, by weighting many draws from its priors.

::

    python workflows/climate/exact.py [--draws 200000] [--set KEY=VALUE]

Where a forecast takes a tenth of a millisecond, importance sampling can tell what an ensemble method should
find: each draw counts by its likelihood. It reads ``workflow.yaml`` and ``derived/``, and takes half a
minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import truncnorm
from summarise import CO2, LEVELS, Members

from daflow.config.energy_balance import EnergyBalanceSettings
from daflow.config.load import load_workflow
from daflow.config.schema import Workflow
from daflow.errors import ConfigError, DaflowError, DataError
from daflow.models.energy_balance import Layers, temperatures_of
from daflow.numerics.obs_error.covariance import DenseCovariance

FloatArray = NDArray[np.float64]

HERE: Final = Path(__file__).parent
AT_ONCE: Final = 2_000
"""Draws whose temperatures are in memory together."""


class Draws(NamedTuple):
    """What each draw stands for, and how little it agrees with the observations: (n_draws,) each."""

    quantities: Mapping[str, FloatArray]
    chi_square: FloatArray

    @property
    def weights(self) -> FloatArray:
        """The share of each draw in the posterior."""
        likelihood = np.exp(-0.5 * (self.chi_square - self.chi_square.min()))
        weights: FloatArray = likelihood / likelihood.sum()
        return weights

    @property
    def effective(self) -> float:
        """How many draws of equal weight are worth as much."""
        return float(1.0 / np.square(self.weights).sum())


def weighted_percentiles(sample: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the percentiles `LEVELS` of a sample whose entries have these shares."""
    order = np.argsort(sample)
    share = np.cumsum(weights[order])
    found: FloatArray = sample[order][np.searchsorted(share, np.array(LEVELS) / 100.0 * share[-1])]
    return found


def _truncated(prior: Any, rng: np.random.Generator, n: int) -> FloatArray:
    low, high = ((bound - prior.mean) / prior.std for bound in prior.bounds)
    drawn: FloatArray = truncnorm.rvs(low, high, prior.mean, prior.std, size=n, random_state=rng)
    return drawn


DRAW: Final[Mapping[str, Callable[[Any, np.random.Generator, int], FloatArray]]] = {
    "normal": lambda prior, rng, n: rng.normal(prior.mean, prior.std, n),
    "lognormal": lambda prior, rng, n: rng.lognormal(prior.mean_log, prior.std_log, n),
    "uniform": lambda prior, rng, n: rng.uniform(prior.lower, prior.upper, n),
    "truncated_normal": _truncated,
}


def weighted(workflow: Workflow, n_draws: int, rng: np.random.Generator) -> Draws:
    """Return draws from a workflow's priors, and how they agree with what it observes."""
    if not (HERE / "derived" / "error.npz").is_file():
        raise DataError(f"{HERE / 'derived'}: nothing is prepared", do="run prepare.py first")
    table = pd.read_csv(HERE / "derived" / "observations.csv")
    with np.load(HERE / "derived" / "error.npz") as archive:
        error = DenseCovariance(archive["covariance"])
    parts = []
    for start in range(0, n_draws, AT_ONCE):
        n = min(AT_ONCE, n_draws - start)
        drawn = {}
        for name, settings in workflow.parameters.items():
            if settings.prior.kind not in DRAW:
                raise ConfigError(
                    f"parameters.{name}.prior", got=settings.prior.kind, allowed=", ".join(DRAW)
                )
            drawn[name] = DRAW[settings.prior.kind](settings.prior, rng, n)
        members = _members(workflow.model, drawn, table["time"].to_numpy())
        misfit = error.whiten(table["value"].to_numpy() - members.predicted)
        parts.append((members.sensitivities() | drawn, np.square(misfit).sum(axis=1)))
    names = parts[0][0]
    quantities = {name: np.concatenate([part[name] for part, _ in parts]) for name in names}
    return Draws(quantities, np.concatenate([chi_square for _, chi_square in parts]))


def _members(model: Any, drawn: Mapping[str, FloatArray], observed: NDArray[np.int64]) -> Members:
    if not isinstance(model, EnergyBalanceSettings) or model.reference is None:
        raise ConfigError("model", got=model.kind, allowed="an energy_balance model with a reference period")
    forcings = pd.read_csv(model.forcing, index_col=model.time)
    factors = np.stack([drawn[str(name)] for name in model.terms.values()], axis=1)
    capacities = np.stack([drawn[str(name)] for name in model.heat_capacities], axis=1)
    transfers = np.stack([drawn[str(name)] for name in model.heat_transfers], axis=1)
    rows = zip(capacities, transfers, drawn[str(model.efficacy)].tolist(), strict=True)
    layers = tuple(Layers(capacity, transfer, efficacy) for capacity, transfer, efficacy in rows)
    propagators = np.stack([each.propagator(1.0) for each in layers])
    surface = temperatures_of(propagators, factors @ forcings[list(model.terms)].to_numpy().T)[:, :, 0]
    years = forcings.index.to_numpy()
    within = (years >= model.reference[0]) & (years <= model.reference[1])
    relative = surface - surface[:, within].mean(axis=1, keepdims=True)
    return Members(layers, drawn[str(model.terms[CO2])], relative[:, np.isin(years, observed)])


def main(arguments: list[str]) -> int:
    """Say what the posterior is; return the exit code."""
    parser = argparse.ArgumentParser(description="Say what the posterior of the climate workflow is.")
    parser.add_argument("--draws", type=int, default=200_000, help="how many draws from the priors")
    parser.add_argument("--set", action="append", default=[], help="override a setting of workflow.yaml")
    asked = parser.parse_args(arguments)
    try:
        workflow = load_workflow(HERE / "workflow.yaml", asked.set)
        draws = weighted(workflow, asked.draws, np.random.default_rng(workflow.seed))
    except DaflowError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    weights = draws.weights
    chi_square = float(weights @ draws.chi_square)
    lines = [f"{draws.effective:.0f} effective draws; chi-square of a draw {chi_square:.1f}", ""]
    for name, sample in draws.quantities.items():
        low, median, high = weighted_percentiles(sample, weights)
        lines.append(f"{name:26s}{median:8.2f} [{low:.2f}, {high:.2f}]")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
