from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from daflow.config.builtin_models import LinearSettings
from daflow.errors import DataError, ModelFailed
from daflow.models.linear import Linear
from daflow.ports import MemberInput

MATRIX = np.arange(15.0).reshape(3, 5) - 4.0
STATES = arrays(np.float64, 5, elements=st.floats(-1e6, 1e6))


def member(parameters, observations):
    return MemberInput(0, 0, parameters, observations, 0, Path(), Path())


def whole(model, parameters):
    return model.forecast(member(parameters, model.observables()))


@pytest.fixture(scope="module")
def by_matrix(tmp_path_factory):
    path = tmp_path_factory.mktemp("matrix") / "h.npy"
    np.save(path, MATRIX)
    return Linear(LinearSettings(matrix=path))


def test_that_a_matrix_acts_on_all_variables_one_behind_the_other(by_matrix):
    parameters = {"b": np.array([[1.0, 2.0], [3.0, 4.0]]), "a": np.array(5.0)}
    np.testing.assert_allclose(whole(by_matrix, parameters), MATRIX @ np.arange(1.0, 6.0))


@given(first=STATES, second=STATES, factor=st.floats(-10.0, 10.0))
def test_that_predictions_add_up_and_scale_as_the_states_do(by_matrix, first, second, factor):
    left = whole(by_matrix, {"x": first + factor * second})
    right = whole(by_matrix, {"x": first}) + factor * whole(by_matrix, {"x": second})
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-6)


@given(order=st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_that_a_row_of_the_matrix_is_a_prediction_whoever_else_is_asked(by_matrix, order):
    table = by_matrix.observables()
    state = np.linspace(0.1, 0.7, 5)
    asked = {name: column[order] for name, column in table.items()}
    some = by_matrix.forecast(member({"x": state}, asked))
    np.testing.assert_array_equal(some, whole(by_matrix, {"x": state})[order])


def test_that_entries_are_picked_and_scaled():
    field = np.arange(12.0).reshape(3, 4)
    every = Linear(LinearSettings(variable="k", n=12, every=5))
    np.testing.assert_array_equal(whole(every, {"other": np.zeros(2), "k": field}), [0.0, 5.0, 10.0])
    listed = Linear(LinearSettings(variable="k", n=12, indices=(7, 2), scale=-2.0))
    np.testing.assert_array_equal(whole(listed, {"k": field}), [-14.0, -4.0])
    assert listed.observables()["name"].tolist() == ["k:7", "k:2"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "matrix"),
        ({"matrix": Path("h.npy"), "variable": "k"}, "matrix"),
        ({"matrix": Path("h.npy"), "scale": 2.0}, "scale"),
        ({"variable": "k"}, "n: "),
        ({"variable": "k", "n": 4, "indices": (4,)}, "indices"),
        ({"variable": "k", "n": 4, "indices": (1, 1)}, "twice"),
        ({"variable": "k", "n": 4, "indices": (1,), "every": 2}, "every"),
    ],
)
def test_that_settings_without_sense_are_refused(settings, key):
    with pytest.raises(ValidationError, match=key):
        LinearSettings(**settings)


def test_that_files_that_are_no_matrix_are_named(tmp_path):
    path = tmp_path / "h.npy"
    contents = (
        (np.zeros(3), "not a matrix"),
        (np.array([["a"]]), "not a matrix"),
        (np.array([[1.0, np.nan]]), r"not finite at \[0, 1\]"),
    )
    for content, words in contents:
        np.save(path, content)
        with pytest.raises(DataError, match=words):
            Linear(LinearSettings(matrix=path))
    np.savez(tmp_path / "h.npz", a=np.zeros((2, 2)))
    (tmp_path / "no.npy").write_text("nothing of the kind")
    for name, words in (("h.npz", "several arrays"), ("no.npy", "cannot be read"), ("gone.npy", "gone.npy")):
        with pytest.raises(DataError, match=words):
            Linear(LinearSettings(matrix=tmp_path / name))


def test_that_states_that_do_not_fit_are_refused(by_matrix):
    with pytest.raises(DataError, match="5 columns for a state of 4"):
        whole(by_matrix, {"x": np.zeros(4)})
    with pytest.raises(ModelFailed, match="not finite"):
        whole(by_matrix, {"x": np.full(5, np.inf)})
    picking = Linear(LinearSettings(variable="k", n=12))
    with pytest.raises(DataError, match="as many entries"):
        whole(picking, {"k": np.zeros(11)})
    with pytest.raises(DataError, match="needs the variable 'k'"):
        whole(picking, {"x": np.zeros(12)})
    with pytest.raises(DataError, match="index = 12"):
        picking.forecast(member({"k": np.zeros(12)}, {"index": np.array([12])}))
