"""Make the climate workflow's observations, their error covariance and its forcing table from public data.

::

    DAFLOW_DATA=/path/to/data python workflows/climate/prepare.py

reads ``$DAFLOW_DATA/climate`` and writes ``derived/`` beside this file. README.md says where the data come
from and why the error covariance is what it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import expm, solve_continuous_lyapunov, toeplitz
from threadpoolctl import threadpool_limits

from daflow.errors import DaflowError, DataError
from daflow.models.energy_balance import Layers
from daflow.numerics.obs_error.reconditioning import Reconditioned, minimum_fraction

FloatArray = NDArray[np.float64]

DERIVED: Final = Path(__file__).with_name("derived")
SERIES, ENSEMBLE = "hadcrut5_annual.csv", "hadcrut5_ensemble.npz"
BEST, LOW, HIGH = (f"erf_{which}_1750-2024.csv" for which in ("best", "p05", "p95"))
FILES: Final = (SERIES, ENSEMBLE, BEST, LOW, HIGH)
SUM: Final = "total"
"""The column of the forcing tables that is the sum of the others."""
REFERENCE: Final = (1961, 1990)
"""First and last year of the mean that the observed anomalies are relative to."""
MOST_CONDITION: Final = 500.0
"""The condition number that the error covariance is brought down to."""
NORMAL_95: Final = 1.6449
"""The 95th percentile of the standard normal distribution."""


class Stirred(NamedTuple):
    """A climate of three layers that noise stirs: Cummins, Stephenson and Stott (2020), eqs. 1-3."""

    layers: Layers
    decay: float
    """Of the forcing's noise, 1/yr (gamma)."""
    forcing_noise: float
    """W m-2 yr-1/2 (sigma_eta)."""
    surface_noise: float
    """W yr1/2 m-2 (sigma_xi)."""


CMIP6: Final = Stirred(
    Layers(np.array([3.87, 10.8, 88.6]), np.array([0.99, 2.34, 0.77]), efficacy=1.27),
    decay=2.80,
    forcing_noise=0.62,
    surface_noise=0.52,
)
"""The median of each parameter over 46 climate models of CMIP6, as fitted to their abrupt-4xCO2 runs."""


def data_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the climate data, every file of which is there.

    Raises
    ------
    daflow.errors.DataError
        ``DAFLOW_DATA`` is not set, or a file is missing.
    """
    cure = "get the data (workflows/climate/README.md says where) and set DAFLOW_DATA to the folder above"
    if not environment.get("DAFLOW_DATA"):
        raise DataError("the climate data: DAFLOW_DATA is not set", do=cure)
    folder = Path(environment["DAFLOW_DATA"]) / "climate"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder}: climate data are missing", got=", ".join(missing), allowed=", ".join(FILES), do=cure
        )
    return folder


def internal_variability(stirred: Stirred, n_years: int) -> FloatArray:
    """Return the covariance (n_years, n_years) of a climate's surface temperature without forcing, K2.

    Law: it is stationary: only the years between two matter.
    """
    layers = stirred.layers
    n = layers.capacities.size
    drift = np.zeros((n + 1, n + 1))
    drift[0, 0] = -stirred.decay
    drift[1, 0] = 1.0 / layers.capacities[0]
    drift[1:, 1:] = layers.rates()
    noise = np.zeros(n + 1)
    noise[:2] = stirred.forcing_noise**2, (stirred.surface_noise / layers.capacities[0]) ** 2
    lagged = solve_continuous_lyapunov(drift, -np.diag(noise))
    # The fits took annual means for values a year apart, so that is what the parameters speak of.
    year = expm(drift)
    at_lag = []
    for _ in range(n_years):
        at_lag.append(float(lagged[1, 1]))
        lagged = year @ lagged
    covariance: FloatArray = toeplitz(at_lag)
    return covariance


def relative_to_mean(covariance: FloatArray, within: NDArray[np.bool_]) -> FloatArray:
    """Return the covariance of a series from which its own mean over some of its entries is subtracted.

    Laws: the mean over these entries has no variance left; a constant does not matter.
    """
    centre = np.eye(within.size) - within / within.sum()
    relative: FloatArray = centre @ covariance @ centre.T
    return relative


def measurement_error(realizations: FloatArray, coverage_std: FloatArray) -> FloatArray:
    """Return the error covariance of HadCRUT5: of its (n, n_years) realizations, and of coverage, K2."""
    covariance: FloatArray = np.cov(realizations, rowvar=False) + np.diag(coverage_std**2)
    return covariance


def brought_down(covariance: FloatArray, most: float) -> Reconditioned:
    """Return a covariance whose condition number is at most ``most``: its small eigenvalues are raised."""
    values = np.linalg.eigvalsh(covariance)
    return minimum_fraction(covariance, min(1.0, most * float(values[0] / values[-1])))


def scaling_stds(best: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame) -> dict[str, float]:
    """Return for each agent the standard deviation of the factor on its best estimate, no unit.

    It is what makes the factor's 5th and 95th percentiles fit the forcing's, in least squares over years.
    """
    stds = {}
    for agent in best.columns.drop([SUM]):
        middle, lower, upper = (each[agent].to_numpy(np.float64) for each in (best, low, high))
        half_range = float(np.abs(middle) @ (upper - lower)) / 2.0
        stds[str(agent)] = half_range / float(middle @ middle) / NORMAL_95
    return stds


def prepare(data: Path, derived: Path) -> str:
    """Write observations, error covariance and forcings into a folder, and return what there is to say."""
    observed = pd.read_csv(data / SERIES)
    years = observed["year"].to_numpy()
    with np.load(data / ENSEMBLE) as archive:
        realizations = archive["anomaly_degC"].astype(np.float64)
        coverage_std, same = archive["coverage_std_degC"], np.array_equal(archive["year"], years)
    if not same:
        raise DataError(
            f"{data}: {ENSEMBLE} is not of the years of {SERIES}", do="get both of the same version"
        )
    measured = measurement_error(realizations, coverage_std)
    within = (years >= REFERENCE[0]) & (years <= REFERENCE[1])
    variability = internal_variability(CMIP6, years.size)
    error = brought_down(measured + relative_to_mean(variability, within), MOST_CONDITION)
    tables = [pd.read_csv(data / name, index_col="year") for name in (BEST, LOW, HIGH)]
    derived.mkdir(parents=True, exist_ok=True)
    # The standard deviations have to be those of the covariance to the last digits that are kept.
    table = {
        "time": years,
        "kind": "temperature",
        "value": observed["anomaly_degC"],
        "error_std": np.sqrt(np.diagonal(error.matrix)),
    }
    pd.DataFrame(table).to_csv(derived / "observations.csv", index=False)
    np.savez(derived / "error.npz", covariance=error.matrix)
    tables[0].drop(columns=SUM).to_csv(derived / "forcing.csv")
    stds = scaling_stds(*(each.loc[years[0] :] for each in tables))
    return _words(
        derived, [("realizations and coverage", measured), ("variability", variability)], error, stds
    )


def _words(
    derived: Path, parts: Sequence[tuple[str, FloatArray]], error: Reconditioned, stds: Mapping[str, float]
) -> str:
    lines = [f"wrote observations.csv, error.npz and forcing.csv into {derived}", "", "error covariance"]
    for what, part in [*parts, ("sum, reconditioned", error.matrix)]:
        std = np.sqrt(np.diagonal(part))
        lines.append(f"  {what:26s} standard deviation {std.min():.3f} to {std.max():.3f} K")
    lines.append(
        f"  condition number {error.condition_before:.0f}, after reconditioning {error.condition_after:.0f}"
    )
    lines += ["", "standard deviation of each agent's factor (its prior in workflow.yaml)"]
    lines += [f"  {agent:20s} {std:.3f}" for agent, std in stds.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Prepare what the workflow reads; return the exit code."""
    try:
        with threadpool_limits(1):  # the same bits on any number of cores
            said = prepare(data_folder(os.environ), DERIVED)
    except DaflowError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    sys.stdout.write(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
