from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from daflow.config.execution import LocalExecution, bytes_of
from daflow.config.grids import EnsembleSettings, GridSettings
from daflow.config.load import from_json, to_json, workflow_from
from daflow.config.localization import DistanceLocalization, Family, ReachSettings
from daflow.config.methods import Inversion
from daflow.config.priors import ArrayPrior, NormalPrior, TruncatedNormalPrior, VariogramModel
from daflow.config.schema import Workflow
from daflow.config.storage import LARGEST_CHUNK, LARGEST_SLAB, slice_size
from daflow.errors import ConfigError
from daflow.numerics.inversion.inversions import INVERSIONS
from daflow.numerics.localization.tapers import TAPERS
from daflow.numerics.priors.variograms import MODELS as VARIOGRAMS
from daflow.records import Grid, Variable

NORMAL = {"kind": "normal", "mean": 0.0, "std": 1.0}


def workflow(**sections: Any) -> Workflow:
    values = {
        "parameters": {"a": {"prior": NORMAL}},
        "model": {"kind": "callable", "function": "model:forecast"},
        "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
    }
    return workflow_from(values | sections)


def test_that_variables_follow_each_other_along_state_in_the_order_of_the_file() -> None:
    grids = {"field": {"shape": [2, 3], "spacing": [10.0, 20.0]}}
    parameters = {
        "z_last": {"grid": "field", "prior": NORMAL},
        "scalar": {"prior": NORMAL},
        "vector": {"shape": [4], "prior": NORMAL},
        "table": {"shape": [2, 2], "dims": ["p", "q"], "prior": NORMAL},
    }
    made = workflow(grids=grids, parameters=parameters)
    grid = Grid(("row", "column"), (2, 3), ("y", "x"), (10.0, 20.0), (5.0, 10.0))
    assert made.layout_variables() == (
        Variable("z_last", ("row", "column"), (2, 3), 0, grid),
        Variable("scalar", (), (), 6),
        Variable("vector", ("vector_0",), (4,), 7),
        Variable("table", ("p", "q"), (2, 2), 11),
    )
    assert made.layout_slice_size() == 15


def test_that_a_slice_is_never_larger_than_the_state() -> None:
    assert workflow(storage={"slice_size": 10**9}).layout_slice_size() == 1
    assert (
        workflow(
            parameters={"a": {"shape": [10], "prior": NORMAL}}, storage={"slice_size": 3}
        ).layout_slice_size()
        == 3
    )


@given(st.integers(1, 10**10), st.integers(2, 10**6), st.sampled_from(["float64", "float32"]))
def test_that_slab_and_chunk_stay_within_their_limits(n_state: int, n_members: int, dtype: str) -> None:
    size = slice_size(n_state, n_members, dtype)
    itemsize = 8 if dtype == "float64" else 4
    assert 1 <= size <= n_state
    assert size * itemsize <= LARGEST_CHUNK
    assert size * n_members * itemsize <= LARGEST_SLAB
    # A state of several smallest slices is cut, so that its update runs in parallel.
    assert n_state < 8 * 2**14 or -(-n_state // size) >= 8
    # Chunks fill blocks of the disk, if they can.
    assert size % 1024 == 0 or size == n_state or LARGEST_SLAB // (itemsize * n_members) < 1024


@pytest.mark.parametrize(
    ("n_state", "n_members", "dtype", "expected"),
    [
        (1, 100, "float64", 1),
        (10_000, 100, "float64", 10_000),
        (100_000, 100, "float64", 16_384),
        (1_000_000, 100, "float64", 125_952),
        (10_000_000, 100, "float64", 131_072),
        (10_000_000, 100, "float32", 262_144),
        (10_000_000, 10, "float64", 524_288),
        (10_000_000, 10, "float32", 1_048_576),
        (10_000_000, 10_000, "float64", 1_024),
        (10_000_000, 20_000, "float64", 655),
    ],
)
def test_that_slices_are_an_eighth_of_the_state_in_blocks_within_limits(
    n_state: int, n_members: int, dtype: str, expected: int
) -> None:
    assert slice_size(n_state, n_members, dtype) == expected


def test_that_a_workflow_cannot_be_changed() -> None:
    made = workflow()
    with pytest.raises(ValidationError, match="frozen"):
        made.seed = 3  # type: ignore[misc]


def test_that_a_workflow_travels_between_processes() -> None:
    made = workflow()
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes


def test_that_sections_made_in_python_are_checked_in_words() -> None:
    with pytest.raises(
        ValidationError, match=r"exclude: there is no such member; got \[9\]; allowed: 0 to 4"
    ):
        EnsembleSettings(size=5, exclude=(9,))


def test_that_members_left_out_keep_the_numbers_of_the_others() -> None:
    assert EnsembleSettings(size=5, exclude=(0, 3)).members == (1, 2, 4)


@pytest.mark.parametrize(
    ("shape", "dims", "axes"),
    [
        ((4,), ("column",), ("x",)),
        ((3, 4), ("row", "column"), ("y", "x")),
        ((2, 3, 4), ("layer", "row", "column"), ("z", "y", "x")),
    ],
)
def test_that_a_grid_has_the_usual_names_where_none_are_given(
    shape: tuple[int, ...], dims: tuple[str, ...], axes: tuple[str, ...]
) -> None:
    grid = GridSettings(shape=shape)
    assert (grid.dims, grid.axes) == (dims, axes)
    assert grid.origin == (0.5,) * len(shape)


def test_that_two_grids_cannot_share_a_dimension() -> None:
    grids = {"fine": {"shape": [4]}, "coarse": {"shape": [2]}}
    parameters = {name: {"grid": name, "prior": NORMAL} for name in grids}
    with pytest.raises(ConfigError, match="dimension 'column' is another one in 'on_fine'"):
        workflow(grids=grids, parameters={f"on_{name}": one for name, one in parameters.items()})


def test_that_variables_without_place_share_a_dimension_of_one_size() -> None:
    vector = {"shape": [3], "dims": ["well"], "prior": NORMAL}
    assert [v.dims for v in workflow(parameters={"a": vector, "b": vector}).layout_variables()] == [
        ("well",)
    ] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GB", 2e9), ("1.5 GiB", 1.5 * 2**30), ("500MB", 5e8), ("12", None), ("GB", None), ("2 gigs", None)],
)
def test_that_memory_is_an_amount_with_a_unit(text: str, expected: float | None) -> None:
    assert bytes_of(text) == expected


def test_that_memory_is_known_in_bytes() -> None:
    assert LocalExecution(memory="4GiB").memory_bytes == 4 * 2**30


def test_that_none_comes_before_lengths_and_a_kind_before_a_variable() -> None:
    own, kinds = ReachSettings(lengths={"x": 1.0}), ReachSettings(lengths={"x": 2.0})
    settings = DistanceLocalization(
        lengths={"x": 3.0}, variables={"a": own, "b": "none"}, observations={"W": kinds, "P": "none"}
    )
    assert settings.reach("a") == own
    assert settings.reach("a", "W") == kinds
    assert settings.reach("a", "P") is None
    assert settings.reach("b", "W") is None
    assert settings.reach("c", "other") == ReachSettings(lengths={"x": 3.0})


def test_that_rows_of_an_array_follow_the_members() -> None:
    assert ArrayPrior(file="p.npz", first=1).rows(3) == (1, 2, 3)
    assert ArrayPrior(file="p.npz", members=(4, 2)).rows(2) == (4, 2)


def test_that_the_bounds_of_a_prior_are_what_can_be_drawn() -> None:
    assert NormalPrior(mean=0.0, std=1.0).bounds == (-float("inf"), float("inf"))
    assert TruncatedNormalPrior(mean=0.0, std=1.0, lower=-1.0).bounds == (-1.0, float("inf"))


@pytest.mark.parametrize(
    ("prior", "transform"),
    [
        ({"kind": "lognormal", "mean_log": 0.0, "std_log": 1.0}, {"kind": "log"}),
        ({"kind": "uniform", "lower": 0.0, "upper": 1.0}, {"kind": "log"}),
        ({"kind": "uniform", "lower": 0.0, "upper": 1.0}, {"kind": "logit", "lower": 0.0, "upper": 1.0}),
        ({"kind": "constant", "value": 1.0}, {"kind": "log"}),
        ({"kind": "array", "file": "p.npz", "truth": 200}, {"kind": "log"}),
        (NORMAL, {"kind": "normal_score"}),
    ],
)
def test_that_a_transform_takes_what_its_prior_can_draw(
    prior: dict[str, Any], transform: dict[str, Any]
) -> None:
    made = workflow(parameters={"a": {"prior": prior, "transform": transform}})
    assert made.parameters["a"].transform.kind == transform["kind"]


def test_that_a_constant_on_the_edge_of_a_transform_is_refused() -> None:
    prior = {"kind": "constant", "value": 0.0}
    with pytest.raises(ConfigError, match="'log' cannot take"):
        workflow(parameters={"a": {"prior": prior, "transform": {"kind": "log"}}})


def test_that_a_command_may_be_timed_beside_others() -> None:
    model = {"kind": "command", "command": ["flow"], "output": {"kind": "npy", "file": "out.npy"}}
    made = workflow(model=model, policy={"timeout": 60.0}, execution={"kind": "local", "threads": 2})
    assert made.policy.timeout == 60.0


def test_that_tapers_and_inversions_have_the_names_of_the_numerics() -> None:
    assert set(Family.__args__) == set(TAPERS)
    assert set(Inversion.__args__) == set(INVERSIONS)
    assert set(VariogramModel.__args__) == set(VARIOGRAMS)


def test_that_a_workflow_needs_something_to_estimate() -> None:
    with pytest.raises(ConfigError, match="parameters: nothing to estimate"):
        workflow(parameters={})


def test_that_a_grid_that_is_nowhere_is_refused_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match="none is declared"):
        workflow(parameters={"a": {"grid": "field", "prior": NORMAL}})


def test_that_a_default_error_speaks_for_every_kind() -> None:
    observations = {"kind": "twin", "error": {"default": {"relative": 0.1}}, "keep": {"kinds": ["W", "P"]}}
    assert workflow(observations=observations).observations.model_dump()["keep"]["kinds"] == ("W", "P")


def test_that_observations_from_a_file_need_no_truth() -> None:
    prior = {"kind": "array", "file": "p.npz"}
    made = workflow(
        parameters={"a": {"prior": prior}}, observations={"kind": "file", "path": "observations.csv"}
    )
    assert made.observations.model_dump()["error"] == {"kind": "diagonal"}


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "linear", "matrix": "h.npy"},
        {"kind": "linear", "variable": "a", "n": 3, "indices": [0, 2]},
        {"kind": "lorenz96", "variable": "a"},
        {"kind": "callable", "function": "model:forecast", "arguments": {"k": [1, {"z": None}]}},
        {
            "kind": "command",
            "command": ["flow", "{folder}"],
            "output": {"kind": "csv", "file": "o.csv", "column": "v"},
        },
    ],
    ids=lambda model: "-".join(map(str, model))[:40],
)
def test_that_every_resolved_model_reads_back_equal(model: dict[str, Any]) -> None:
    made = workflow(model=model)
    assert from_json(to_json(made)) == made
