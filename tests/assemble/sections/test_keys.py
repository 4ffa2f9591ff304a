"""Which settings touch which stages: a changed one changes the keys there and downstream, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daflow.assemble.sections.keys import stage_keys
from daflow.config.load import load_workflow
from daflow.names import Phase

WORKFLOW = """
seed: 1
ensemble: {size: 6}
grids: {ring: {shape: [8], dims: [component], axes: [x]}}
parameters:
  start: {grid: ring, prior: {kind: normal, mean: 2, std: 1}}
  forcing: {prior: {kind: normal, mean: 8, std: 1}}
model: {kind: lorenz96, variable: start, forcing: forcing, n: 8}
observations: {kind: twin, error: {default: {absolute: 1}}}
method: {kind: es_mda, steps: 2}
localization: {kind: distance, lengths: {x: 2}, variables: {forcing: none}}
storage: {slice_size: 4}
"""
COORDINATES, TRUTH, PRIOR = (Phase.COORDINATES, 0), (Phase.TRUTH, 0), (Phase.PRIOR, 0)
FORECAST, PREPARE, UPDATE = (Phase.FORECAST, 0), (Phase.PREPARE, 0), (Phase.UPDATE, 0)
EVERYTHING = {COORDINATES, TRUTH, PRIOR, FORECAST, PREPARE, UPDATE}
FROM_THE_PRIOR_ON = EVERYTHING - {COORDINATES}
LATER = {(Phase.FORECAST, 1), (Phase.PREPARE, 1), (Phase.UPDATE, 1), (Phase.FORECAST, 2)}

FORECAST_ON = {FORECAST, PREPARE, UPDATE}

TOUCHES = {
    # setting: the stages of step 0 whose keys change; all that comes later does wherever one of them does
    "name=other": set(),
    "execution.workers=7": set(),
    "policy.retries=9": set(),
    "policy.min_members=3": set(),
    "storage.path=elsewhere": set(),
    "seed=2": FROM_THE_PRIOR_ON,
    "parameters.start.facies=[{value: 1, share: 0.5}, {value: 2, share: 0.5}]": {TRUTH, *FORECAST_ON},
    "ensemble.size=7": FROM_THE_PRIOR_ON,
    "ensemble.exclude=[2]": FROM_THE_PRIOR_ON,
    "storage.slice_size=3": EVERYTHING,
    "storage.dtype=float32": EVERYTHING,
    "storage.codec=lz4": EVERYTHING,
    "storage.sharding=aligned": EVERYTHING,
    "storage.codec=none": set(),
    "storage.sharding=none": set(),
    "grids.ring.spacing=[2.0]": EVERYTHING,
    "model.forcing=8.0": {TRUTH, FORECAST, PREPARE, UPDATE},
    "model.together=25": set(),
    "model.n_times=2": {TRUTH, FORECAST, PREPARE, UPDATE},
    "observations.error.default.absolute=2.0": {TRUTH, FORECAST, PREPARE, UPDATE},
    "observations.background_check={threshold: 4}": {PREPARE, UPDATE},
    "observations.background_check=null": set(),
    "observations.outliers={action: flag}": {PREPARE, UPDATE},
    "observations.super_obs={box: {x: 2}}": {PREPARE, UPDATE},
    "policy.missing_predictions=drop_observations": FORECAST_ON,
    "policy.missing_predictions=invalid": set(),
    "method.inversion=exact_lstsq": {PREPARE, UPDATE},
    "method.alphas={ratio: 2}": {PREPARE, UPDATE},
    "localization.lengths.x=3.0": {PREPARE, UPDATE},
    "localization.period={x: 8}": {PREPARE, UPDATE},
    "inflation=none": set(),
    "inflation=[]": set(),
    "inflation={kind: multiplicative, factor: 1.1}": {PREPARE, UPDATE},
    "parameters.forcing.clip={lower: 0}": {UPDATE},
}


def keys_of(folder: Path, *overrides: str, steps: int = 2):
    path = folder / "workflow.yaml"
    path.write_text(WORKFLOW)
    keys = stage_keys(load_workflow(path, overrides), steps)
    # After the last forecast there is nothing to prepare.
    return {stage: key for stage, key in keys.items() if stage[1] < steps or stage[0] is Phase.FORECAST}


@pytest.mark.parametrize("setting", TOUCHES)
def test_that_a_setting_changes_the_keys_of_what_it_touches_and_of_what_follows(tmp_path, setting):
    before, after = keys_of(tmp_path), keys_of(tmp_path, setting)
    changed = {stage for stage in before if before[stage] != after[stage]}
    assert changed == TOUCHES[setting] | (LATER if TOUCHES[setting] else set())


def test_that_another_prior_changes_the_keys_of_members_and_of_what_follows(tmp_path):
    before, after = keys_of(tmp_path), keys_of(tmp_path, "parameters.start.prior.mean=3.0")
    assert {stage for stage in before if before[stage] != after[stage]} >= FROM_THE_PRIOR_ON | LATER


def test_that_keys_tell_all_stages_apart_and_say_the_same_each_time(tmp_path):
    keys = keys_of(tmp_path)
    assert keys == keys_of(tmp_path)
    assert len(set(keys.values())) == len(keys) == 10


def test_that_one_inflation_has_the_keys_of_a_list_of_one(tmp_path):
    one = "{kind: multiplicative, factor: 1.1}"
    assert keys_of(tmp_path, f"inflation={one}") == keys_of(tmp_path, f"inflation=[{one}]")
    assert keys_of(tmp_path, f"inflation={one}") != keys_of(tmp_path, f"inflation=[{one[:-2]}2}}]")


def test_that_more_steps_leave_the_keys_of_the_first_ones_as_they_were(tmp_path):
    few, many = keys_of(tmp_path, steps=2), keys_of(tmp_path, steps=5)
    assert all(many[stage] == key for stage, key in few.items())
    assert np.setdiff1d(sorted(map(str, many)), sorted(map(str, few))).size == 9


FILE = {
    "observations.thinning={box: {x: 2}}": {TRUTH, *FORECAST_ON},
    "observations.thinning=null": set(),
    "observations.error.recondition={way: ridge_shift, number: 1}": {TRUTH, *FORECAST_ON},
    "observations.error.recondition=null": set(),
    "observations.background_check={}": {PREPARE, UPDATE},
}


@pytest.mark.parametrize(("setting", "touched"), FILE.items())
def test_that_what_is_done_when_a_file_is_read_touches_the_forecasts_of_it(tmp_path, setting, touched):
    path = tmp_path / "workflow.yaml"
    twin = "{kind: twin, error: {default: {absolute: 1}}}"
    path.write_text(WORKFLOW.replace(twin, "{kind: file, path: o.csv, error: {kind: dense, file: r.npy}}"))
    before, after = (stage_keys(load_workflow(path, each), 1) for each in ([], [setting]))
    changed = {stage for stage, key in after.items() if key != before[stage] and stage[1] == 0}
    assert changed == touched


def test_that_runs_made_before_there_were_further_settings_keep_their_keys(tmp_path):
    """Taken from the version before inflation, cycling and further localizations came in."""
    keys = keys_of(tmp_path)
    assert keys[PRIOR] == "7376ffeabcbc31ebaa7e9583e83c7b91"
    assert keys[Phase.UPDATE, 1] == "46814034ae75ce0ed3379fb7f3e73af8"
    assert keys[Phase.FORECAST, 2] == "983bc069a070be3e3318c6ff933cd779"
