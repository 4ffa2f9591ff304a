"""Filters of every way to update a slice, in cycles: the numbers do not depend on who does what when."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.numerics.filters.serial_filters import apply_serial, serial_factors
from daflow.numerics.localization.distance import DistanceTaper, state_obs_taper
from tests.end_to_end.small_run import run_inline, written

pytestmark = pytest.mark.slow

N_CYCLES, N = 2, 12
RING = """
name: kinds
seed: 7
ensemble: {size: 9}
grids:
  ring: {shape: [12], dims: [component], axes: [x], origin: [0]}
parameters:
  level: {grid: ring, prior: {kind: normal, mean: 2.3, std: 2.0}}
model: {kind: lorenz96, variable: level, n: 12, n_times: 2, observe_every: 2}
observations: {kind: twin, error: {default: {absolute: 1.0}}}
cycling: {}
storage: {slice_size: 5}
"""
SNAPSHOTS = 2.3 + 3.6 * np.random.default_rng(1).standard_normal((30, N))
KINDS = {
    "gain_inflated_enkf": "method: {kind: gain_inflated_enkf, zeta: 0.2}\n"
    "localization: {kind: sampling_error, family: nice}",
    "letkf": "method: {kind: letkf}\n"
    "localization: {kind: distance, lengths: {x: 2}, tapers: observation_error}",
    "eakf": "method: {kind: eakf}\nlocalization: {kind: distance, lengths: {x: 2}, tapers: cross_covariance}",
    "shrinkage_etkf": "method: {kind: shrinkage_etkf, target: {file: long.npy}, synthetic: 20}",
    "shrinkage_etkf, localized": "method: {kind: shrinkage_etkf, target: {file: long.npy}, synthetic: 20}\n"
    "localization: {kind: distance, lengths: {x: 2}, tapers: observation_error}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_that_a_filter_ends_with_the_same_bits_in_any_order_of_its_tasks(kind, place):
    workflow = written(place, RING + KINDS[kind])
    np.save(place / "long.npy", SNAPSHOTS)
    one, other = (run_inline(workflow, place / name, seed=seed) for name, seed in (("a", None), ("b", 3)))
    for step in range(1, N_CYCLES + 1):
        mine, theirs = (run.state(step)["level"].values for run in (one, other))
        assert np.isfinite(mine).all()
        assert mine.tobytes() == theirs.tobytes()
        assert np.abs(mine - one.forecast(step - 1)["level"].values).max() > 0
    if kind == "eakf":
        for step in range(N_CYCLES):
            _check_serial(one, step)


def _check_serial(run, step):
    """See that a cycle's analysis is that of the pure functions, with dense tapers."""
    taper = DistanceTaper("gaspari_cohn", (2.0, None, None))
    here, there = (np.column_stack([np.arange(0.0, N, k), np.zeros((N // k, 2))]) for k in (1, 2))
    observed = run.observations()["value"].values[step * 6 : step * 6 + 6]
    forecast = run.forecast(step)["level"].values
    factors = serial_factors(
        forecast[:, ::2],
        observed,
        np.ones(6),
        scheme="eakf",
        obs_obs_taper=state_obs_taper(there, there, taper),
    )
    expected = apply_serial(factors, forecast, state_obs_taper(here, there, taper).toarray())
    np.testing.assert_allclose(run.state(step + 1)["level"].values, expected, rtol=0, atol=1e-11)
