from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daflow.config.load import (
    digest,
    from_json,
    json_schema,
    load_workflow,
    starter_text,
    to_json,
    workflow_from,
)
from daflow.config.schema import Workflow
from daflow.errors import ConfigError

GOOD = """
name: flood
seed: 7
ensemble: {size: 10, exclude: [3]}
grids:
  field: {shape: [4, 5], spacing: [10, 20]}
parameters:
  permeability:
    grid: field
    prior: {kind: gaussian_field, mean: 4.6, std: 1.0, lengths: {x: 40, y: 20}}
  factor:
    prior: {kind: uniform, lower: 0.5, upper: 1.5}
model: {kind: callable, function: 'model:forecast'}
observations:
  kind: twin
  error: {WOPR: {absolute: 2, relative: 0.05}}
localization:
  kind: distance
  lengths: {x: 30, y: 30}
  variables: {factor: none}
"""


def error_of(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_workflow(path, overrides)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "water.yaml"
    path.write_text(GOOD)
    return path


def test_that_a_missing_file_and_a_folder_are_refused_with_the_cure(tmp_path: Path) -> None:
    assert "daflow init" in error_of(tmp_path / "none.yaml")
    assert "a folder, not a file" in error_of(tmp_path)
    assert "cannot be read" in error_of(tmp_path / "a\0b")


def test_that_many_problems_fit_a_screen(good: Path) -> None:
    good.write_text(GOOD + "".join(f"key_{i}: 1\n" for i in range(30)))
    message = error_of(good)
    assert "30 problems" in message
    assert "... and 22 more" in message
    assert len(message.splitlines()) <= 12


def test_that_a_message_names_the_line(good: Path) -> None:
    good.write_text(GOOD.replace("size: 10", "size: 1"))
    assert "ensemble.size (line 4)" in error_of(good)


def test_that_values_are_read_as_yaml_1_2(good: Path) -> None:
    text = GOOD.replace("std: 1.0", "std: 1e-3").replace("name: flood", "name: yes").replace("WOPR", "NO")
    good.write_text(text)
    workflow = load_workflow(good)
    assert workflow.parameters["permeability"].prior.model_dump()["std"] == 1e-3
    assert workflow.name == "yes"
    assert list(workflow.model_dump()["observations"]["error"]) == ["NO"]


def test_that_merged_keys_count_as_written(good: Path) -> None:
    text = GOOD.replace("grid: field\n    prior: {", "grid: field\n    prior: {<<: &p {std: 2.0}, ").replace(
        ", std: 1.0", ""
    )
    good.write_text(text)
    assert load_workflow(good).parameters["permeability"].prior.model_dump()["std"] == 2.0


def test_that_paths_start_at_the_file_and_hold_environment_variables(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.chdir("/")
    prior = "{kind: array, file: ../priors.npz, truth: 99}"
    text = GOOD.replace("{kind: uniform, lower: 0.5, upper: 1.5}", prior)
    good.write_text(text + "storage: {path: '${SCRATCH}/run'}\n")
    workflow = load_workflow(good)
    assert workflow.storage.path == Path("/scratch/me/run")
    assert workflow.parameters["factor"].prior.model_dump()["file"] == good.parent / "../priors.npz"


def test_that_a_relative_workflow_path_still_gives_absolute_paths(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(good.parent)
    workflow = load_workflow("water.yaml", ["storage.path=run"])
    assert workflow.storage.path == good.parent / "run"


def test_that_the_resolved_workflow_spells_out_every_default(good: Path) -> None:
    plain = json.loads(to_json(load_workflow(good)))
    assert plain["grids"]["field"]["origin"] == [5.0, 10.0]
    assert plain["grids"]["field"]["dims"] == ["row", "column"]
    assert plain["method"]["inversion"] == "exact_cholesky"
    assert plain["policy"] == {
        "retries": 2,
        "timeout": None,
        "min_members": 2,
        "on_failure": "drop",
        "node_failures": 3,
        "stragglers": None,
        "missing_predictions": "invalid",
    }


def test_that_the_resolved_workflow_reads_back_equal(good: Path) -> None:
    workflow = load_workflow(good)
    assert from_json(to_json(workflow)) == workflow


def test_that_a_mapping_says_the_same_as_a_file(good: Path) -> None:
    assert workflow_from(yaml.safe_load(GOOD), good.parent) == load_workflow(good)


def test_that_a_mapping_no_file_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="no file can hold"):
        workflow_from({"name": object()})
    with pytest.raises(ConfigError, match="workflow: 3 problems"):
        workflow_from({})


def test_that_torn_json_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"resolved\.json: not JSON"):
        from_json('{"name": ')
    with pytest.raises(ConfigError, match=r"resolved\.json: of a wrong type"):
        from_json("[]")


finite = st.floats(-1e12, 1e12)
positive = st.floats(1e-12, 1e12)
names = st.from_regex(r"\A[a-z_][a-z0-9_]{0,12}\Z").filter(
    lambda name: name not in {"member", "state", "obs"}
)
priors = st.one_of(
    st.fixed_dictionaries({"kind": st.just("normal"), "mean": finite, "std": positive}),
    st.fixed_dictionaries({"kind": st.just("lognormal"), "mean_log": finite, "std_log": positive}),
    st.fixed_dictionaries({"kind": st.just("constant"), "value": finite}),
    st.tuples(finite, positive)
    .filter(lambda low_width: low_width[0] + low_width[1] > low_width[0])
    .map(lambda low_width: {"kind": "uniform", "lower": low_width[0], "upper": sum(low_width)}),
)
methods = st.integers(1, 6).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "steps": st.just(n),
            "alphas": st.one_of(
                st.just("constant"), st.fixed_dictionaries({"ratio": positive}), st.just([float(n)] * n)
            ),
            "inversion": st.sampled_from(["exact_cholesky", "rescaled", "subspace_rescaled"]),
        }
    )
)
ends = st.sampled_from(["failed", "invalid", "timed_out", "cancelled", "lost"])
workflows = st.fixed_dictionaries(
    {
        "name": st.text(st.characters(codec="utf-8"), min_size=1),
        "seed": st.integers(0, 2**63 - 1),
        "parameters": st.dictionaries(
            names, st.fixed_dictionaries({"prior": priors}), min_size=1, max_size=5
        ),
        "model": st.just({"kind": "callable", "function": "model:forecast"}),
        "observations": st.just({"kind": "twin", "error": {"default": {"absolute": 1.0}}}),
        "method": methods,
        "policy": st.fixed_dictionaries(
            {
                "timeout": st.none() | positive,
                "retries": st.integers(0, 9) | st.dictionaries(ends, st.integers(0, 9)),
                "on_failure": st.sampled_from(["drop", "stop"])
                | st.dictionaries(ends, st.sampled_from(["drop", "stop"])),
            }
        ),
        "storage": st.fixed_dictionaries({"slice_size": st.just("auto") | st.integers(1, 10**9)}),
    }
)


@given(workflows)
def test_that_every_resolved_workflow_reads_back_equal_and_in_order(values: dict[str, object]) -> None:
    workflow = workflow_from(values)
    again = from_json(to_json(workflow))
    assert again == workflow
    assert list(again.parameters) == list(workflow.parameters)
    assert digest(again.model_dump(mode="json")) == digest(workflow.model_dump(mode="json"))


def test_that_a_digest_is_the_same_on_every_machine_and_day() -> None:
    assert digest({"a": [1, 2.5, None, "é"]}) == digest({"a": [1, 2.5, None, "é"]})
    assert re.fullmatch(r"[0-9a-f]{32}", digest({}))
    assert digest([1, 2]) != digest([2, 1])


def descriptions(node: object, path: str = "") -> list[str]:
    """Every property in a JSON schema without a description."""
    if isinstance(node, list):
        return [lack for one in node for lack in descriptions(one, path)]
    if not isinstance(node, dict):
        return []
    lacks = [f"{path}.{key}" for key, one in node.get("properties", {}).items() if "description" not in one]
    return lacks + [lack for key, one in node.items() for lack in descriptions(one, f"{path}.{key}")]


def test_that_every_key_is_described() -> None:
    assert descriptions(json_schema()) == []


def test_that_the_schema_handed_out_can_be_changed_without_harm() -> None:
    json_schema()["properties"].clear()
    assert "ensemble" in json_schema()["properties"]


def test_that_the_starter_is_a_workflow(tmp_path: Path) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_text(starter_text())
    workflow = load_workflow(path)
    assert isinstance(workflow, Workflow)
    assert workflow.observations.kind == "twin"
