from pathlib import Path

import pytest
import yaml

from daflow.config.load import from_json, to_json, workflow_from
from daflow.errors import ConfigError

BASE = """
parameters: {a: {shape: [3], prior: {kind: normal, mean: 0, std: 1}}}
model: {kind: linear, variable: a, n: 3}
observations: {kind: file, path: o.csv}
"""
RECONDITION = {"way": "ridge_shift", "number": 0.1}


def workflow(observations=None, policy=None):
    plain = yaml.safe_load(BASE)
    plain["observations"] |= observations or {}
    return workflow_from(plain | {"policy": policy or {}}, Path("unused"))


def error(kind, **recondition):
    files = {
        "dense": {"file": "r.npy"},
        "block": {"file": "r.npz", "arrays": ["a"]},
        "low_rank": {"file": "r.npz"},
    }
    return {"error": {"kind": kind, **files.get(kind, {}), "recondition": RECONDITION | recondition}}


BAD = [
    # (observations, policy, the key that the message names, a word of its cure)
    (error("diagonal"), {}, "observations.error.recondition", "raise error_std"),
    (error("low_rank"), {}, "observations.error.recondition", "raise these"),
    (error("dense", way="ridge"), {}, "observations.error.recondition.way", "ridge_shift"),
    (error("dense", number=0), {}, "observations.error.recondition.number", "above 0"),
    (
        error("block", way="ridge_fraction", number=1.5),
        {},
        "observations.error.recondition.number",
        "up to 1",
    ),
    (error("dense", on="variance"), {}, "observations.error.recondition.on", "correlation"),
    ({"background_check": {"threshold": 0}}, {}, "observations.background_check.threshold", "above 0"),
    ({"background_check": {"action": "remove"}}, {}, "observations.background_check.action", "drop"),
    ({"outliers": {"action": "inflate"}}, {}, "observations.outliers.action", "drop"),
    ({"thinning": {"box": {}}}, {}, "observations.thinning.box", "at least"),
    ({"thinning": {"box": {"w": 1}}}, {}, "observations.thinning.box", "time"),
    ({"thinning": {}}, {}, "observations.thinning.box", "missing"),
    ({"super_obs": {"box": {"x": -1}}}, {}, "observations.super_obs.box.x", "above 0"),
    ({}, {"missing_predictions": "drop"}, "policy.missing_predictions", "drop_observations"),
    ({}, {"missing_predictions": 0.1}, "policy.missing_predictions", "mapping"),
    ({}, {"missing_predictions": {"share": 2}}, "policy.missing_predictions.share", "1"),
    (
        {},
        {"missing_predictions": "drop_members", "on_failure": "stop"},
        "policy.missing_predictions",
        "on_failure: drop",
    ),
    (
        {},
        {"missing_predictions": {"share": 0.5}, "on_failure": "stop"},
        "policy.missing_predictions",
        "on_failure",
    ),
]


@pytest.mark.parametrize(("observations", "policy", "key", "cure"), BAD)
def test_that_what_cannot_be_is_refused_with_its_key_and_a_cure(observations, policy, key, cure):
    with pytest.raises(ConfigError) as raised:
        workflow(observations, policy)
    assert key in str(raised.value)
    assert cure in str(raised.value)


def test_that_a_twin_is_not_thinned_but_checked_and_averaged():
    twin = {"kind": "twin", "error": {"default": {"absolute": 1}}}
    plain = yaml.safe_load(BASE)
    checks = {"background_check": {}, "outliers": {}, "super_obs": {"box": {"time": 2}}}
    found = workflow_from(plain | {"observations": twin | checks}, Path("unused")).observations
    assert (found.background_check.threshold, found.background_check.action) == (3.0, "drop")
    assert (found.outliers.threshold, found.outliers.action) == (3.5, "drop")
    with pytest.raises(ConfigError, match="thinning"):
        workflow_from(plain | {"observations": twin | {"thinning": {"box": {"x": 1}}}}, Path("unused"))


@pytest.mark.parametrize("missing", ["invalid", "drop_observations", "drop_members", {"share": 0.25}])
def test_that_settings_come_back_from_what_a_run_keeps(missing):
    made = workflow(error("dense") | {"thinning": {"box": {"x": 1}}}, {"missing_predictions": missing})
    assert from_json(to_json(made)) == made


def test_that_leaving_no_observation_out_goes_with_stopping_at_a_failure():
    assert workflow({}, {"missing_predictions": "drop_observations", "on_failure": "stop"})
    assert workflow({}, {"missing_predictions": {"share": 1}, "on_failure": "stop"})
