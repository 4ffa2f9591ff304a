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


def test_that_a_run_keeps_the_spread_that_it_is_told_to_in_any_order_of_its_tasks(tmp_path):
    path = written(tmp_path, POSITIVE, WELL)
    changes = (INFLATION, "storage.dtype=float32")
    ours, theirs = (run_inline(path, tmp_path / f"run{seed}", *changes, seed=seed) for seed in (None, 3))
    assert_same_bits(finals(ours), finals(theirs))
    spread = [np.log(ours.parameters(step)["level"]).std("member").values for step in (0, 2)]
    # Relaxed in full to what each of two updates was given: 1.2 times what there was, to seven digits.
    np.testing.assert_allclose(spread[1], 1.2**2 * spread[0], rtol=1e-5)
