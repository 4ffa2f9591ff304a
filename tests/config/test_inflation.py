"""The section ``inflation`` of a workflow file: what it takes, and what it says of what it does not take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import daflow.methods
from daflow.config.inflation import (
    AdaptiveInflation,
    AdditiveInflation,
    MultiplicativeInflation,
    RelaxationInflation,
    SpatialInflation,
    acts_before,
    inflations_of,
)
from daflow.config.load import from_json, json_schema, to_json, workflow_from
from daflow.config.schema import Workflow
from daflow.errors import ConfigError
from daflow.numerics.inflation.spatial import DENSITIES

WIDER = {"kind": "multiplicative", "factor": 1.1}
AFTER = {"kind": "multiplicative", "factor": 1.1, "on": "posterior"}
RTPS = {"kind": "relaxation", "to": "prior_spread", "strength": 0.8}
RTPP = {"kind": "relaxation", "to": "prior_perturbations", "strength": 0.8}
NOISE = {"kind": "additive", "std": {"a": 0.1}}
EVERY = {
    "multiplicative": WIDER,
    "posterior": AFTER,
    "spread": RTPS,
    "perturbations": RTPP,
    "additive": NOISE,
    "adaptive": {"kind": "adaptive"},
    "spatial": {"kind": "spatial", "density": "gaussian"},
}


def workflow(inflation: Any = None) -> Workflow:
    values = {
        "parameters": {"a": {"prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}},
        "model": {"kind": "callable", "function": "model:forecast"},
        "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
    }
    return workflow_from(values if inflation is None else values | {"inflation": inflation})


@pytest.mark.parametrize("nothing", [None, "none", []])
def test_that_there_is_no_inflation_where_none_is_asked_for(nothing: Any) -> None:
    assert inflations_of(workflow(nothing).inflation) == ()


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_that_one_alone_is_a_list_of_one(one: dict[str, Any]) -> None:
    assert inflations_of(workflow(one).inflation) == inflations_of(workflow([one]).inflation)


@pytest.mark.parametrize("inflation", ["none", [], *EVERY.values(), [WIDER, RTPS, AFTER, NOISE]])
def test_that_every_resolved_inflation_reads_back_equal(inflation: Any) -> None:
    made = workflow(inflation)
    assert from_json(to_json(made)) == made


def test_that_a_workflow_resolved_before_there_was_inflation_has_none() -> None:
    made = workflow()
    older = to_json(made).replace('  "inflation": "none",\n', "")
    assert "inflation" not in older
    assert from_json(older) == made


def test_that_inflations_stand_in_the_order_of_the_file() -> None:
    many = inflations_of(workflow([WIDER, NOISE, RTPS]).inflation)
    assert [type(one) for one in many] == [MultiplicativeInflation, AdditiveInflation, RelaxationInflation]
    assert [acts_before(one) for one in many] == [True, False, False]


@pytest.mark.parametrize("settings", [AdaptiveInflation(kind="adaptive"), SpatialInflation(kind="spatial")])
def test_that_what_is_learnt_is_of_the_prior(settings: AdaptiveInflation | SpatialInflation) -> None:
    assert acts_before(settings)


REFUSED = {
    "no such word": ("never", "inflation: there is no such choice"),
    "null": ([None], r"inflation\.0: of a wrong type"),
    "no such kind": ({"kind": "multiplicatve", "factor": 1}, "did you mean 'multiplicative'"),
    "no kind": ({"factor": 1.1}, r"inflation\.kind: the key is missing"),
    "unknown key": (WIDER | {"by": 2}, r"inflation\.by: there is no such key"),
    "no factor": ({"kind": "multiplicative"}, r"inflation\.factor: the key is missing: What they are"),
    "factor 0": (WIDER | {"factor": 0}, r"inflation\.factor: out of range"),
    "negative strength": ([RTPS | {"strength": -0.1}], r"inflation\.0\.strength: out of range"),
    "too much of the prior": (RTPP | {"strength": 1.2}, r"inflation\.strength: anomalies are mixed"),
    "no variable": ({"kind": "additive", "std": {}}, r"inflation\.std: too few"),
    "another variable": ({"kind": "additive", "std": {"A": 1.0}}, "no such variable .did you mean 'a'"),
    "negative noise": ({"kind": "additive", "std": {"a": -1.0}}, r"inflation\.std\.a: out of range"),
    "bounds crossed": ({"kind": "adaptive", "lower": 3, "upper": 2}, r"inflation\.lower: is above 'upper'"),
    "initial outside": ({"kind": "spatial", "initial": 0.5}, r"inflation\.initial: is not between"),
    "least above std": ({"kind": "spatial", "std": 0.1}, r"inflation\.least_std: is above 'std'"),
    "remembering more": ({"kind": "adaptive", "forgetting": 0.9}, r"inflation\.forgetting: out of range"),
    "posterior first": ([RTPS, WIDER], "what inflates the prior acts before the update"),
    "prior twice": ([WIDER, {"kind": "adaptive"}], "the prior is inflated twice"),
    "two relaxations": ([RTPS, RTPP], "two of kind relaxation act after the update"),
    "noise twice": ([NOISE, NOISE], "two of kind additive act after the update"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_that_what_makes_no_sense_is_refused_in_words(case: str) -> None:
    inflation, said = REFUSED[case]
    with pytest.raises(ConfigError, match=said):
        workflow(inflation)


def test_that_multiplying_before_and_after_is_two_things() -> None:
    assert len(inflations_of(workflow([WIDER, AFTER]).inflation)) == 2


def test_that_densities_have_the_names_of_the_numerics() -> None:
    schema = json_schema()["$defs"]["SpatialInflation"]["properties"]["density"]
    assert set(schema["enum"]) == set(DENSITIES)


def test_that_the_examples_of_the_page_are_workflow_files() -> None:
    page = (Path(daflow.methods.__file__).parent / "INFLATION.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    assert len(examples) >= 4
    for example in examples:
        assert inflations_of(workflow(yaml.safe_load(example.replace("permx", "a"))["inflation"]).inflation)
    assert all(f"| `{kind}`" in page for kind in {one["kind"] for one in EVERY.values()})


def test_that_every_key_is_described() -> None:
    for name, section in json_schema()["$defs"].items():
        if name.endswith("Inflation"):
            assert all(len(each["description"]) > 20 for each in section["properties"].values()), name
