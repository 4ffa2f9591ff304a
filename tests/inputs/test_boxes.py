import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.config.observations import FileObservations
from daflow.config.quality import SuperObsSettings
from daflow.errors import CombinationError, DataError
from daflow.inputs import boxes, covariance_of, read_observations
from daflow.inputs.boxes import super_obs_of
from daflow.ports import Observations

ROWS = """value,error_std,x,time,kind,name
1,0.5,0.5,1,k,a
2,0.4,0.9,1,k,b
3,0.3,1.1,1,k,c
4,0.2,1.2,1,other,d
5,0.4,0.1,9,k,e
6,0.4,1.9,1,k,f
"""


def read(folder, thinning, rows=ROWS):
    (folder / "o.csv").write_text(rows)
    settings = {"path": folder / "o.csv", "thinning": thinning}
    return read_observations(FileObservations.model_validate(settings))


def observed(values, stds, **columns):
    n_obs = len(values)
    table = {"name": np.array([f"o{i}" for i in range(n_obs)]), "kind": np.full(n_obs, "k")}
    table |= {axis: np.zeros(n_obs) for axis in ("time", "x", "y", "z")}
    return Observations(table | {"value": np.array(values), "error_std": np.array(stds)} | columns, {})


def test_that_of_each_box_and_kind_the_most_accurate_is_kept_with_its_number(tmp_path):
    left = read(tmp_path, {"box": {"x": 1.0}})
    assert left.table["name"].tolist() == ["b", "c", "d"]
    assert left.numbers.tolist() == [1, 2, 3]
    assert "of 6 observations 3 were kept" in left.notes[0]
    left = read(tmp_path, {"box": {"x": 1.0, "time": 5.0}})
    assert left.table["name"].tolist() == ["b", "c", "d", "e"]


def test_that_boxes_of_one_observation_each_change_nothing(tmp_path):
    thinned, plain = read(tmp_path, {"box": {"x": 0.05}}), read(tmp_path, None)
    assert thinned.numbers is None
    for name, column in plain.table.items():
        assert thinned.table[name].tobytes() == column.tobytes()


def test_that_an_axis_along_which_an_observation_has_no_place_is_named(tmp_path):
    with pytest.raises(DataError, match=r"observations\.thinning\.box\.y(.|\n)*6 of 6, the first is a"):
        read(tmp_path, {"box": {"y": 1.0}})
    with pytest.raises(DataError, match=r"observations\.super_obs\.box\.x"):
        super_obs_of(SuperObsSettings(box={"x": 1.0}), observed([1.0], [1.0], x=np.array([np.nan])))


@given(st.integers(2, 6), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_that_observations_that_say_the_same_are_one_of_an_nth_of_the_variance(n, std, value):
    found, averages = super_obs_of(SuperObsSettings(box={"x": 1.0}), observed([value] * n, [std] * n))
    np.testing.assert_allclose(found.table["value"], [value], atol=1e-12)
    np.testing.assert_allclose(found.table["error_std"] ** 2, [std**2 / n])
    assert (found.numbers.tolist(), found.table["name"].tolist()) == ([0], ["o0"])
    np.testing.assert_allclose(averages.average(np.arange(float(n))), [(n - 1) / 2])


def test_that_places_are_averaged_and_correlated_errors_stay_correlated():
    matrix = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, 0.1], [0.2, 0.1, 4.0]])
    given = observed([1.0, 3.0, 5.0], [1.0, 1.0, 2.0], x=np.array([0.2, 0.6, 7.0]))
    given = Observations(given.table, {"matrix": matrix}, np.array([3, 8, 9]))
    found, _ = super_obs_of(SuperObsSettings(box={"x": 1.0}), given)
    np.testing.assert_allclose(found.table["x"], [0.4, 7.0])
    np.testing.assert_allclose(found.table["value"], [2.0, 5.0])
    np.testing.assert_allclose(covariance_of(found).dense(), [[0.75, 0.15], [0.15, 4.0]])
    assert found.numbers.tolist() == [3, 9]


def test_that_boxes_of_one_are_no_averages_and_large_matrices_are_refused(monkeypatch):
    given = observed([1.0, 2.0], [1.0, 1.0], x=np.array([0.0, 5.0]))
    assert super_obs_of(SuperObsSettings(box={"x": 1.0}), given) is None
    assert super_obs_of(None, given) is None
    monkeypatch.setattr(boxes, "LARGEST_MATRIX", 1)
    with pytest.raises(CombinationError, match="averaged as one matrix"):
        super_obs_of(SuperObsSettings(box={"x": 9.0}), Observations(given.table, {"matrix": np.eye(2)}))
