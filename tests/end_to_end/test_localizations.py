"""Runs with localizations that look at the whole prior first, alone or in a product, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.names import Phase
from daflow.runs.journal import read_journal
from tests.end_to_end.small_run import RING, assert_same_bits, finals, run_inline, written

DISTANCE = "{kind: distance, lengths: {x: 4}, variables: {forcing: none}}"
PLUGIN = "{kind: plugin, function: 'rivers:weights'}"
LOCALIZATIONS = {
    "surveyed": "{kind: sampling_error, family: nice, std: fisher}",
    "product": f"""{{kind: product, tapers: cross_covariance, of: [
        {DISTANCE}, {PLUGIN}, {{kind: correlation, family: tempered, noise: shuffled}}]}}""",
}
RIVERS = """
import numpy as np

def weights(points, observations):
    upstream = points["x"][:, None] > observations["x"]
    return np.where(upstream & (points["variable"] == "start")[:, None], 0.5, 1.0)
"""


@pytest.mark.parametrize("name", LOCALIZATIONS)
def test_that_neither_the_order_of_tasks_nor_the_slices_make_a_difference(tmp_path, name):
    path = written(tmp_path, RING)
    (tmp_path / "rivers.py").write_text(RIVERS)
    changes = (f"localization={LOCALIZATIONS[name]}", "method.steps=2")
    ours, theirs = (run_inline(path, tmp_path / f"run{seed}", *changes, seed=seed) for seed in (None, 3))
    assert_same_bits(finals(ours), finals(theirs))
    whole = run_inline(path, tmp_path / "whole", *changes, "storage.slice_size=25")
    for variable in ("start", "forcing"):
        first, last, other = (run.parameters(2)[variable].values for run in (ours, theirs, whole))
        np.testing.assert_allclose(other, first, rtol=0, atol=1e-9)
        assert np.abs(last - ours.parameters(0)[variable].values).max() > 1e-3
    ended = [fact for fact in read_journal(tmp_path / "runNone" / "journal.jsonl") if fact["fact"] == "ended"]
    concluded = [fact["figures"] for fact in ended if fact["phase"] == Phase.CONCLUDE]
    told = "localization_0_exponent" if name == "surveyed" else "localization_0_noise_mean"
    assert len(concluded) == 2
    assert all(figures[told] > 0 for figures in concluded)
