"""Say what a run of the climate workflow found: sensitivity, fit, and a picture of before and after.

::

    python workflows/climate/summarise.py runs/climate [--figure before_and_after.png]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2

import daflow
from daflow.config.energy_balance import EnergyBalanceSettings
from daflow.config.observations import DenseError, FileObservations
from daflow.errors import DaflowError, DataError
from daflow.inputs.obs_error import read_error
from daflow.models.energy_balance import Layers, temperatures_of
from daflow.numerics.diagnostics.information import degrees_of_freedom_for_signal
from daflow.numerics.obs_error.covariance import DenseCovariance

FloatArray = NDArray[np.float64]

DOUBLED_CO2: Final = 3.93
"""Effective radiative forcing of twice the CO2, W m-2: IPCC AR6 WG1, section 7.3.2."""
CO2: Final = "CO2"
"""The forcing table's column of carbon dioxide."""
YEARS_TO_DOUBLING: Final = 70
"""At 1 % a year."""
EARLY, LATE = (1850, 1900), (2015, 2024)
"""First and last years of the means between which the warming is told."""
LEVELS: Final = (5, 50, 95)


class Assessed(NamedTuple):
    """What IPCC AR6 WG1 assessed, K: chapter 7, executive summary and section 7.5.5."""

    best: float
    likely: tuple[float, float]
    very_likely: tuple[float, float]


ASSESSED: Final[Mapping[str, Assessed]] = {
    "ECS": Assessed(3.0, (2.5, 4.0), (2.0, 5.0)),
    "TCR": Assessed(1.8, (1.4, 2.2), (1.2, 2.4)),
}


class Members(NamedTuple):
    """An ensemble of climates, and what each makes of the observed years."""

    layers: tuple[Layers, ...]
    co2_factor: FloatArray
    """(n_members,) on the best estimate of the forcing of CO2."""
    predicted: FloatArray
    """(n_members, n_obs), K."""

    def sensitivities(self) -> dict[str, FloatArray]:
        """Return the equilibrium climate sensitivity and the transient climate response, (n_members,), K."""
        doubled = DOUBLED_CO2 * self.co2_factor
        feedback = np.array([each.transfers[0] for each in self.layers])
        # Forcing grows by as much each year while CO2 grows by 1 %; the response is the mean over the twenty
        # years around doubling.
        ramp = (np.arange(YEARS_TO_DOUBLING + 10) + 0.5) / YEARS_TO_DOUBLING
        propagators = np.stack([each.propagator(1.0) for each in self.layers])
        surface = temperatures_of(propagators, np.multiply.outer(doubled, ramp))[:, :, 0]
        return {"ECS": doubled / feedback, "TCR": surface[:, -20:].mean(axis=1)}


class Observed(NamedTuple):
    """What was observed."""

    years: NDArray[np.int64]
    values: FloatArray
    error: DenseCovariance

    def chi_square(self, predicted: FloatArray) -> FloatArray:
        """Return the squared distance of rows (..., n_obs) from what was observed, in units of its error."""
        whitened = self.error.whiten(np.atleast_2d(self.values - predicted))
        distance: FloatArray = np.square(whitened).sum(axis=-1)
        return distance

    def warming(self, series: FloatArray) -> FloatArray:
        """Return by how much the late years of (..., n_obs) are warmer than the early ones, K."""
        warming: FloatArray = series @ self._contrast()
        return warming

    def warming_std(self) -> float:
        """Return the standard deviation of the error of the observed warming, variability included, K."""
        contrast = self._contrast()[np.newaxis]
        return float(np.sqrt((self.error.multiply(contrast) @ contrast.T).item()))

    def _contrast(self) -> FloatArray:
        late, early = (
            ((self.years >= first) & (self.years <= last)).astype(np.float64) for first, last in (LATE, EARLY)
        )
        contrast: FloatArray = late / late.sum() - early / early.sum()
        return contrast


class Fit(NamedTuple):
    """How the mean of an ensemble's predictions agrees with the observations and their error."""

    chi_square: float
    """Per degree of freedom."""
    expected: tuple[float, float]
    """Its 5th and 95th percentiles where the error covariance is right."""
    freedom: float
    """Degrees of freedom: observations, less what they settled of the parameters."""
    autocorrelation: float
    """Of the whitened misfit, from a year to the next: 0 where the error covariance is right."""


def fit(observed: Observed, prior: FloatArray, posterior: FloatArray) -> Fit:
    """Return how the mean of the posterior's predictions fits; the prior's tell what was settled."""
    freedom = observed.values.size - degrees_of_freedom_for_signal(prior, observed.error)
    mean = posterior.mean(axis=0)
    misfit = observed.error.whiten((observed.values - mean)[np.newaxis])[0]
    return Fit(
        chi_square=float(misfit @ misfit) / freedom,
        expected=(float(chi2.ppf(0.05, freedom)) / freedom, float(chi2.ppf(0.95, freedom)) / freedom),
        freedom=freedom,
        autocorrelation=float(misfit[1:] @ misfit[:-1] / (misfit @ misfit)),
    )


def members_of(run: daflow.Run, step: int) -> Members:
    """Return an ensemble of a run: step 0 is the prior, -1 the posterior."""
    model = run.workflow.model
    if not isinstance(model, EnergyBalanceSettings) or CO2 not in model.terms:
        raise DataError(
            f"{run.folder}: is not a run of the climate workflow", allowed="an energy_balance model"
        )
    predicted = run.predicted(step)
    drawn = run.parameters(step).sel(member=predicted.member).compute()  # all at once: a chunk holds all

    def values(given: float | str) -> FloatArray:
        if isinstance(given, str):
            return np.asarray(drawn[given], dtype=np.float64)
        return np.full(predicted.sizes["member"], given)

    capacities = np.stack([values(each) for each in model.heat_capacities], axis=1)
    transfers = np.stack([values(each) for each in model.heat_transfers], axis=1)
    rows = zip(capacities, transfers, values(model.efficacy).tolist(), strict=True)
    return Members(
        layers=tuple(Layers(capacity, transfer, efficacy) for capacity, transfer, efficacy in rows),
        co2_factor=values(model.terms[CO2]),
        predicted=np.asarray(predicted, dtype=np.float64),
    )


def observed_by(run: daflow.Run) -> Observed:
    """Return what a run has observed, and its error covariance."""
    settings = run.workflow.observations
    if not isinstance(settings, FileObservations) or not isinstance(settings.error, DenseError):
        raise DataError(
            f"{run.folder}: is not a run of the climate workflow", allowed="observations with a dense error"
        )
    table = run.observations()
    error = DenseCovariance(read_error(settings.error, table.sizes["obs"])["matrix"])
    if not np.allclose(error.diagonal(), np.square(table["error_std"]), rtol=1e-6):
        raise DataError(
            f"{settings.error.file}: is not the error covariance that the run was made with",
            do="give the run of today's files, or prepare its own again",
        )
    return Observed(
        years=np.asarray(table["time"]).astype(np.int64),
        values=np.asarray(table["value"], dtype=np.float64),
        error=error,
    )


def words(observed: Observed, prior: Members, posterior: Members) -> str:
    """Return what there is to say, as text."""
    before, after = prior.sensitivities(), posterior.sensitivities()
    lines = [f"{'K':26s}{'prior: median, 5-95 %':>24s}{'posterior':>22s}{'IPCC AR6: best, very likely':>32s}"]
    for name, assessed in ASSESSED.items():
        low, high = assessed.very_likely
        known = f"{assessed.best:.1f} [{low:.1f}, {high:.1f}]"
        lines.append(f"{name:26s}{_range(before[name]):>24s}{_range(after[name]):>22s}{known:>32s}")
    late, early = (f"{first}-{last}" for first, last in (LATE, EARLY))
    seen = f"observed {observed.warming(observed.values):.2f} +- {observed.warming_std():.2f}"
    ranges = (_range(observed.warming(each.predicted)) for each in (prior, posterior))
    lines.append(f"{f'{late} less {early}':26s}" + "{:>24s}{:>22s}".format(*ranges) + f"{seen:>32s}")
    medians = (
        np.median(observed.chi_square(each.predicted)) / observed.values.size for each in (prior, posterior)
    )
    lines.append(f"{'chi-square/obs, a member':26s}" + "{:>24.2f}{:>22.2f}".format(*medians))
    found = fit(observed, prior.predicted, posterior.predicted)
    (low, high), doubt = found.expected, 1.0 / np.sqrt(observed.values.size)
    lines += [
        "",
        f"the posterior's mean, {found.freedom:.1f} degrees of freedom",
        f"  chi-square per degree of freedom {found.chi_square:.2f}, expected {low:.2f} to {high:.2f}",
        f"  autocorrelation of the whitened misfit {found.autocorrelation:.2f}, expected 0 +- {doubt:.2f}",
    ]
    return "\n".join(lines) + "\n"


def draw(observed: Observed, prior: Members, posterior: Members) -> Figure:
    """Return a picture of temperatures and sensitivities, before and after."""
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    upper = figure.add_subplot(2, 2, 1)
    axes = [upper, figure.add_subplot(2, 2, 2, sharey=upper)]
    for panel, members, title, colour in zip(
        axes, (prior, posterior), ("Before", "After"), (PRIOR_COLOUR, POSTERIOR_COLOUR), strict=True
    ):
        _draw_temperatures(panel, observed, members.predicted, colour)
        panel.set_title(title, loc="left")
    upper.set_ylabel("K above the mean of 1961-1990")
    before, after = prior.sensitivities(), posterior.sensitivities()
    for place, name in enumerate(ASSESSED, start=3):
        _draw_sensitivity(figure.add_subplot(2, 2, place), name, before[name], after[name])
    return figure


PRIOR_COLOUR, POSTERIOR_COLOUR, INK, BAND = "#8c939c", "#0072b2", "#1d2430", "#e69f00"
TITLES: Final = {"ECS": "Equilibrium climate sensitivity, K", "TCR": "Transient climate response, K"}


def _draw_temperatures(panel: Axes, observed: Observed, predicted: FloatArray, colour: str) -> None:
    low, median, high = np.percentile(predicted, LEVELS, axis=0)
    std = np.sqrt(observed.error.diagonal())
    panel.fill_between(
        observed.years,
        observed.values - 1.645 * std,
        observed.values + 1.645 * std,
        color=INK,
        alpha=0.10,
        lw=0,
    )
    panel.plot(
        observed.years, observed.values, color=INK, lw=0.8, label="HadCRUT5; its error and variability"
    )
    panel.fill_between(observed.years, low, high, color=colour, alpha=0.45, lw=0, label="5-95 % of members")
    panel.plot(observed.years, median, color=colour, lw=1.5, label="median")
    panel.legend(loc="upper left", frameon=False, fontsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _draw_sensitivity(panel: Axes, name: str, before: FloatArray, after: FloatArray) -> None:
    assessed = ASSESSED[name]
    edges = np.linspace(0.0, 1.8 * assessed.very_likely[1], 46)
    panel.axvspan(*assessed.very_likely, color=BAND, alpha=0.15, lw=0, label="IPCC AR6, very likely")
    panel.axvspan(*assessed.likely, color=BAND, alpha=0.25, lw=0, label="likely")
    panel.axvline(assessed.best, color=BAND, lw=1.5, label="best estimate")
    for sample, colour, label in ((before, PRIOR_COLOUR, "before"), (after, POSTERIOR_COLOUR, "after")):
        panel.hist(sample, edges.tolist(), density=True, histtype="step", color=colour, lw=1.6, label=label)
    panel.set_title(TITLES[name], loc="left")
    panel.set_yticks([])
    panel.legend(loc="upper right", frameon=False, fontsize=8)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _range(sample: FloatArray) -> str:
    low, median, high = np.percentile(sample, LEVELS)
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def main(arguments: list[str]) -> int:
    """Say and draw what a run found; return the exit code."""
    parser = argparse.ArgumentParser(description="Say what a run of the climate workflow found.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--figure", type=Path, help="where to draw before and after; .png or .svg")
    asked = parser.parse_args(arguments)
    try:
        run = daflow.open_run(asked.run)
        found = observed_by(run), members_of(run, 0), members_of(run, -1)
    except DaflowError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    sys.stdout.write(words(*found))
    if asked.figure is not None:
        draw(*found).savefig(asked.figure, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
