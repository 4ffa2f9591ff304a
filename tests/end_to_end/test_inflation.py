"""A run with inflations of its workflow file: of transformed variables, in float32, in any order of tasks."""

from __future__ import annotations

import numpy as np

from tests.end_to_end.small_run import CALLABLE, WELL, assert_same_bits, finals, run_inline, written

POSITIVE = CALLABLE.replace(
    "level: {shape: [14], prior: {kind: normal, mean: 0, std: 1}}",
    "level: {shape: [14], prior: {kind: lognormal, mean_log: 0, std_log: 0.5}, transform: {kind: log}}",
)
INFLATION = """inflation=[
  {kind: multiplicative, factor: 1.2},
  {kind: additive, std: {level: 0.1}},
  {kind: relaxation, to: prior_spread, strength: 1},
]"""
CYCLES = """
name: ring
seed: 11
ensemble: {size: 12}
grids:
  ring: {shape: [24], dims: [component], axes: [x]}
parameters:
  start: {grid: ring, prior: {kind: normal, mean: 2.3, std: 2.0}}
model: {kind: lorenz96, variable: start, forcing: 8.0, n: 24, every_steps: 2, n_times: 3, observe_every: 2}
observations: {kind: twin, error: {default: {absolute: 0.5}}}
cycling: {}
method: {kind: letkf}
localization: {kind: distance, tapers: observation_error, lengths: {x: 4}}
inflation: {kind: spatial}
"""


def test_that_a_run_keeps_the_spread_that_it_is_told_to_in_any_order_of_its_tasks(tmp_path):
    path = written(tmp_path, POSITIVE, WELL)
    changes = (INFLATION, "storage.dtype=float32")
    ours, theirs = (run_inline(path, tmp_path / f"run{seed}", *changes, seed=seed) for seed in (None, 3))
    assert_same_bits(finals(ours), finals(theirs))
    spread = [np.log(ours.parameters(step)["level"]).std("member").values for step in (0, 2)]
    # Relaxed in full to what each of two updates was given: 1.2 times what there was, to seven digits.
    np.testing.assert_allclose(spread[1], 1.2**2 * spread[0], rtol=1e-5)


def test_that_a_filter_s_factors_are_carried_from_cycle_to_cycle_whatever_the_slices(tmp_path):
    path = written(tmp_path, CYCLES)
    ours = run_inline(path, tmp_path / "few", "storage.slice_size=24")
    theirs = run_inline(path, tmp_path / "many", "storage.slice_size=10", seed=3)
    np.testing.assert_allclose(finals(ours)["start"], finals(theirs)["start"], rtol=0, atol=1e-9)
    kept = [
        [np.load(file) for file in sorted(tmp_path.glob(f"{run}/**/inflation_factor.npy"))]
        for run in ("few", "many")
    ]
    assert [len(each) for each in kept] == [3, 9]
    for step in range(3):
        sliced = np.concatenate(kept[1][3 * step : 3 * step + 3])
        np.testing.assert_allclose(sliced, kept[0][step], rtol=1e-9)
    assert np.ptp(kept[0][2]) > 0.01
