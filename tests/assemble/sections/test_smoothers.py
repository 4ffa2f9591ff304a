"""Smoothers and inversions as the workflow file chooses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from daflow.assemble.looking_ahead.preview import preview
from daflow.assemble.sections.keys import stage_keys
from daflow.assemble.sections.methods import (
    KINDS,
    check_method,
    ends_by_itself,
    method_of,
    n_steps_of,
    starts_from_prior,
    summary_of,
    surveys,
)
from daflow.assemble.sections.smoothers import SMOOTHERS
from daflow.config.load import load_workflow, workflow_from
from daflow.errors import CombinationError, DataError
from daflow.names import Phase
from daflow.ports import Observations, StepInput

RING = {"ring": {"shape": [8], "dims": ["component"], "axes": ["x"]}}
NORMAL = {"kind": "normal", "mean": 0.0, "std": 1.0}
BY_DISTANCE = {"kind": "distance", "lengths": {"x": 2.0}}
METHODS: dict[str, dict[str, Any]] = {
    "es": {"kind": "es"},
    "es_mda": {"kind": "es_mda", "steps": 3},
    "discrepancy": {"kind": "es_mda", "alphas": "discrepancy"},
    "restricted": {"kind": "es_mda", "alphas": {"restricted": {"trials": 4}}},
    "eki": {"kind": "eki"},
    "nesterov": {"kind": "eki", "time_step": 1.0, "perturbed": "none", "acceleration": "nesterov"},
    "etki": {"kind": "etki", "time_step": 0.25, "steps": 4},
    "ies": {"kind": "ies"},
    "enrml": {"kind": "enrml"},
}
SUMMARIES = {
    "es": "es, 1 step, exact_cholesky",
    "es_mda": "es_mda, 3 steps, exact_cholesky",
    "discrepancy": "es_mda, at most 50 steps, exact_cholesky, steps by discrepancy",
    "restricted": "es_mda, at most 50 steps, exact_cholesky, restricted steps",
    "eki": "eki, at most 50 steps, exact_cholesky, steps by discrepancy",
    "nesterov": "eki, 10 steps, exact_cholesky, time step 1, observations not perturbed, "
    "Nesterov's acceleration",
    "etki": "etki, 4 steps",
    "ies": "ies, 6 steps",
    "enrml": "enrml, at most 10 steps",
}


def workflow(method: dict[str, Any], **sections: Any) -> Any:
    values = {
        "seed": 1,
        "ensemble": {"size": 6},
        "grids": RING,
        "parameters": {"start": {"grid": "ring", "prior": NORMAL}},
        "model": {"kind": "lorenz96", "variable": "start", "n": 8},
        "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
        "method": method,
        "storage": {"slice_size": 4},
    }
    return workflow_from(values | sections)


def observations(n_obs: int = 3, **error: Any) -> Observations:
    here = np.arange(float(n_obs))
    names = np.array([f"o{i}" for i in range(n_obs)])
    places = {"x": here, "y": np.full(n_obs, np.nan), "z": np.full(n_obs, np.nan)}
    table = {"name": names, "kind": np.array(["k"] * n_obs), "time": here, **places}
    return Observations(table | {"value": here, "error_std": np.ones(n_obs)}, error)


@pytest.mark.parametrize("name", METHODS)
def test_that_a_method_is_made_and_summed_up(name: str) -> None:
    made = workflow(METHODS[name])
    method = method_of(made, observations())
    assert method.n_steps == n_steps_of(made)
    assert summary_of(made) == SUMMARIES[name]
    assert ends_by_itself(made) == ("at most" in SUMMARIES[name])
    assert (method.base(1) == 0) == starts_from_prior(made) == (name in {"ies", "enrml"})
    assert surveys(made) == (name == "restricted")


def test_that_the_ensemble_smoother_is_es_mda_with_one_step_number_for_number() -> None:
    predicted = np.random.default_rng(1).standard_normal((6, 3))
    given = StepInput(0, range(6), lambda start, stop: predicted[:, start:stop].copy(), {})
    one, other = (
        method_of(workflow(method), observations()).prepare(given).arrays["transform"]
        for method in ({"kind": "es"}, {"kind": "es_mda", "steps": 1})
    )
    assert one.tobytes() == other.tobytes()


def test_that_every_smoother_is_tried_here() -> None:
    assert {method["kind"] for method in METHODS.values()} == set(SMOOTHERS)
    assert set(SMOOTHERS) <= set(KINDS)


@pytest.mark.parametrize("kind", ["ies", "enrml"])
def test_that_a_state_smaller_than_the_ensemble_is_looked_at_first(kind: str) -> None:
    small = workflow({"kind": kind}, ensemble={"size": 10})
    assert surveys(small)
    assert hasattr(method_of(small, observations()), "survey")
    stages = stage_keys(small, n_steps_of(small), surveys=surveys(small))
    assert (Phase.SURVEY, 0) in stages


SINGULAR = {
    "zero": np.zeros((3, 3)),
    "of rank one": np.ones((3, 3)),
    "indefinite": np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("matrix", SINGULAR)
def test_that_an_error_covariance_that_is_none_is_refused(name: str, matrix: str) -> None:
    with pytest.raises(DataError, match=r"positive definite|above 0"):
        method_of(workflow(METHODS[name]), observations(matrix=SINGULAR[matrix]))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("tapers", ["gain", "cross_covariance", "observation_error"])
def test_that_a_localization_is_taken_where_it_is_defined_and_refused_elsewhere(
    name: str, tapers: str
) -> None:
    made = workflow(METHODS[name], localization=BY_DISTANCE | {"tapers": tapers})
    if tapers in SMOOTHERS[METHODS[name]["kind"]].localizations:
        check_method(made)
        assert method_of(made, observations()).localize is not None
        return
    assert METHODS[name]["kind"] in {"etki", "ies", "enrml"}
    with pytest.raises(CombinationError, match="cannot be localized") as refused:
        check_method(made)
    assert f"localization.tapers: {tapers}" in refused.value.got
    assert refused.value.allowed == "localization.kind: none"


def test_that_restricted_steps_do_not_go_with_a_localization_that_looks_first() -> None:
    nice = {"kind": "sampling_error", "family": "nice"}
    with pytest.raises(CombinationError, match="look at the whole prior"):
        check_method(workflow(METHODS["restricted"], localization=nice))
    check_method(workflow(METHODS["discrepancy"], localization=nice))


@pytest.mark.parametrize("name", METHODS)
def test_that_numbers_of_several_steps_are_compared_in_one_space_only(name: str) -> None:
    parameters = {"start": {"grid": "ring", "prior": NORMAL, "transform": {"kind": "normal_score"}}}
    made = workflow(METHODS[name], parameters=parameters)
    if name not in {"restricted", "nesterov"}:
        check_method(made)
        return
    with pytest.raises(CombinationError, match="numbers of several steps"):
        check_method(made)


@pytest.mark.parametrize("name", METHODS)
def test_that_a_preview_says_whether_its_numbers_are_the_most_there_can_be(name: str) -> None:
    made = workflow(METHODS[name])
    seen = preview(made)
    assert seen.forecasts == 6 * (n_steps_of(made) + 1)
    assert any("ends by itself" in note for note in seen.notes) == ends_by_itself(made)


KEPT = {
    # The keys of the update of step 1 before there was any other method.
    "{steps: 2}": "46814034ae75ce0ed3379fb7f3e73af8",
    "{kind: es_mda, steps: 2, alphas: {ratio: 2.0}}": "0957df7a4b93e03f1d0f09fbe26181cd",
    "{kind: es_mda, steps: 2, alphas: [2, 2], inversion: subspace_rescaled, truncation: 0.99}": (
        "f790627d10e6b6fac361774ff777f951"
    ),
}
OLD = """
seed: 1
ensemble: {size: 6}
grids: {ring: {shape: [8], dims: [component], axes: [x]}}
parameters:
  start: {grid: ring, prior: {kind: normal, mean: 2, std: 1}}
  forcing: {prior: {kind: normal, mean: 8, std: 1}}
model: {kind: lorenz96, variable: start, forcing: forcing, n: 8}
observations: {kind: twin, error: {default: {absolute: 1}}}
method: METHOD
localization: {kind: distance, lengths: {x: 2}, variables: {forcing: none}}
storage: {slice_size: 4}
"""


@pytest.mark.parametrize("method", KEPT)
def test_that_older_workflow_files_keep_their_keys(tmp_path, method: str) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_text(OLD.replace("METHOD", method))
    assert stage_keys(load_workflow(path), 2)[Phase.UPDATE, 1] == KEPT[method]
