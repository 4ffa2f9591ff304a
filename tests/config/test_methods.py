"""Section ``method``: what is filled in where the file says nothing, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from daflow.config.load import from_json, json_schema, to_json, workflow_from
from daflow.config.methods import EsMdaSettings, IesSettings, RestrictedAlphas
from daflow.config.schema import Workflow
from daflow.errors import ConfigError


def workflow(method: Any) -> Workflow:
    return workflow_from(
        {
            "parameters": {"a": {"prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}},
            "model": {"kind": "callable", "function": "model:forecast"},
            "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
            "method": method,
        }
    )


STEPS = [
    ({}, 4),
    ({"steps": 2}, 2),
    ({"alphas": "discrepancy"}, 50),
    ({"alphas": "discrepancy", "steps": 4}, 4),
    ({"alphas": {"restricted": {}}}, 50),
    ({"alphas": {"restricted": {}}, "steps": 7}, 7),
    ({"kind": "eki"}, 50),
    ({"kind": "eki", "time_step": "discrepancy", "steps": 3}, 3),
    ({"kind": "eki", "time_step": 0.1}, 10),
    ({"kind": "etki", "time_step": 1}, 10),
    ({"kind": "ies"}, 6),
    ({"kind": "enrml"}, 10),
]


@pytest.mark.parametrize(("method", "steps"), STEPS)
def test_that_a_search_has_more_steps_than_a_schedule_unless_the_file_says_how_many(method, steps):
    made = workflow(method)
    assert made.method.steps == steps
    assert from_json(to_json(made)) == made


def test_that_a_section_without_a_kind_is_es_mda():
    assert isinstance(workflow({}).method, EsMdaSettings)
    assert workflow({}).method == workflow({"kind": "es_mda"}).method == EsMdaSettings()


def test_that_forms_of_alphas_and_steps_are_told_apart():
    assert workflow({"alphas": [2, 2], "steps": 2}).method.alphas == (2.0, 2.0)
    restricted = workflow({"alphas": {"restricted": {"trials": 3}}}).method.alphas
    assert isinstance(restricted, RestrictedAlphas)
    assert (restricted.restricted.largest_move, restricted.restricted.trials) == (2.0, 3)
    listed = workflow({"kind": "ies", "steps": 2, "step_length": [0.3, 1]}).method
    assert isinstance(listed, IesSettings)
    assert [listed.length(step) for step in range(2)] == [0.3, 1.0]


BAD = [
    ({"alphas": "dicrepancy"}, "method.alphas", "'constant' or 'discrepancy' or a mapping or a list"),
    ({"alphas": {"restricted": {"trial": 3}}}, "method.alphas.restricted.trial", "did you mean 'trials'"),
    ({"alphas": {"restricted": {"trials": 0}}}, "method.alphas.restricted.trials", "at least 1"),
    ({"alphas": {"restricted": 2}}, "method.alphas.restricted", "a mapping"),
    ({"alphas": "discrepancy", "normalise": True}, "method.normalise", "a list of alphas"),
    ({"kind": "es", "steps": 1}, "method.steps", "no such key"),
    ({"kind": "es", "truncation": 0.9}, "method.truncation", "leaves nothing out"),
    ({"kind": "eki", "truncation": 0.9}, "method.truncation", "leaves nothing out"),
    ({"kind": "eki", "time_step": 0}, "method.time_step", "above 0"),
    ({"kind": "eki", "time_step": "discrepant"}, "method.time_step", "'discrepancy' or a number"),
    ({"kind": "eki", "acceleration": "nesterov"}, "method.perturbed", "none, or acceleration: none"),
    ({"kind": "etki", "inversion": "naive"}, "method.inversion", "no such key"),
    ({"kind": "ies", "step_length": 1.5}, "method.step_length", "at most 1"),
    ({"kind": "ies", "step_length": [0.5, 0.5]}, "method.step_length", "2 for 6 steps"),
    ({"kind": "enrml", "damping": "some"}, "method.damping", "'auto' or a number"),
    ({"kind": "enrml", "factor": 1}, "method.factor", "above 1"),
    ({"kind": "enrml", "tolerance": 1}, "method.tolerance", "below 1"),
    ({"kind": "es_mad"}, "method.kind", "did you mean 'es_mda'?"),
    (3, "method", "a mapping of keys to values"),
]


@pytest.mark.parametrize(("method", "key", "cure"), BAD)
def test_that_what_cannot_be_is_refused_with_its_key_and_the_cure(method, key, cure):
    with pytest.raises(ConfigError) as refused:
        workflow(method)
    assert f"{key}:" in str(refused.value)
    assert cure in str(refused.value)


def test_that_the_schema_tells_methods_apart_by_their_kind():
    schema = json_schema()
    found = schema["properties"]["method"]["discriminator"]["mapping"]
    assert {"es", "es_mda", "eki", "etki", "ies", "enrml"} <= set(found)
    for kind, place in found.items():
        assert schema["$defs"][place.rpartition("/")[2]]["properties"]["kind"]["const"] == kind
