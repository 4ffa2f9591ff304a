"""The flood as a forward model: what it offers, what it is asked, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from daflow.config.builtin_models import ReservoirSettings
from daflow.errors import DataError, ModelFailed
from daflow.models import Reservoir
from daflow.models.reservoir.network import Network
from daflow.models.reservoir.pressure import pattern, solve
from daflow.ports import MemberInput

SHAPE = (6, 8)
INJECTOR = {"name": "I", "kind": "injector", "row": 1, "column": 1, "rate": 50.0}
PRODUCER = {"name": "P", "kind": "producer", "row": 4, "column": 6, "pressure": 100.0}
PLAIN = {
    "shape": SHAPE,
    "cell_size": (10.0, 20.0, 5.0),
    "permeability": "logk",
    "wells": (INJECTOR, PRODUCER),
    "report_times": {"every": 30.0, "until": 100.0},
}
LOG_K = 5.0 + np.random.default_rng(7).standard_normal(SHAPE)


def reservoir(**changes):
    return Reservoir(ReservoirSettings.model_validate(PLAIN | changes))


def forecast(model, observations=None, **parameters):
    asked = model.observables() if observations is None else observations
    return model.forecast(MemberInput(0, 0, parameters, asked, 0, Path(), Path()))


EVERYTHING = forecast(reservoir(), logk=LOG_K)


def test_that_the_table_follows_from_the_settings_alone():
    table = reservoir().observables()
    assert table["kind"].tolist() == ["WBHP", "WOPR", "WWPR"] * 3
    assert table["name"].tolist() == table["well"].tolist() == ["I", "P", "P"] * 3
    assert table["time"].tolist() == [30.0] * 3 + [60.0] * 3 + [90.0] * 3
    assert table["x"].tolist() == [15.0, 65.0, 65.0] * 3
    assert table["y"].tolist() == [30.0, 90.0, 90.0] * 3
    assert np.isnan(table["z"]).all()
    assert EVERYTHING.shape == (9,)


def test_that_controls_decide_what_is_observed_of_a_well():
    wells = (
        {**INJECTOR, "rate": None, "pressure": 300.0, "layers": (0, 1)},
        {**PRODUCER, "rate": 30.0, "pressure": None},
        {**PRODUCER, "name": "Q", "column": 0},
    )
    model = reservoir(shape=(4, *SHAPE), wells=wells, report_times=(50.0,))
    table = model.observables()
    assert table["kind"].tolist() == ["WWIR", "WOPR", "WWPR", "WBHP", "WOPR", "WWPR"]
    assert table["z"].tolist() == [5.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    rates = forecast(model, logk=np.broadcast_to(LOG_K, (4, *SHAPE)).copy())
    assert rates[1] + rates[2] == pytest.approx(30.0, rel=1e-9)
    assert rates[0] == pytest.approx(rates[1] + rates[2] + rates[4] + rates[5], rel=1e-9)
    assert rates[3] < 300.0


@settings(max_examples=10)
@given(order=st.lists(st.integers(0, 8), min_size=0, max_size=12))
def test_that_predictions_do_not_depend_on_which_others_are_asked_for(order):
    model = reservoir()
    asked = {name: column[order] for name, column in model.observables().items()}
    np.testing.assert_array_equal(forecast(model, asked, logk=LOG_K), EVERYTHING[order])


def test_that_a_table_of_the_users_with_names_kinds_and_times_is_enough():
    asked = {"kind": np.array(["WOPR"]), "name": np.array(["P"]), "time": np.array([60])}
    np.testing.assert_array_equal(forecast(reservoir(), asked, logk=LOG_K), EVERYTHING[[4]])


def test_that_the_same_input_gives_the_same_bits():
    assert forecast(reservoir(), logk=LOG_K).tobytes() == EVERYTHING.tobytes()


def test_that_logarithms_and_numbers_of_permeability_mean_the_same():
    linear = reservoir(permeability_is="linear")
    np.testing.assert_array_equal(forecast(linear, logk=np.exp(LOG_K)), EVERYTHING)


def test_that_porosity_may_be_a_variable():
    variable = reservoir(porosity="phi")
    same = forecast(variable, logk=LOG_K, phi=np.full(SHAPE, 0.2))
    np.testing.assert_array_equal(same, EVERYTHING)
    with pytest.raises(ModelFailed, match=r"'phi' cannot be used at \[2, 3\]"):
        forecast(variable, logk=LOG_K, phi=np.where(np.arange(48).reshape(SHAPE) == 19, 1.5, 0.2))


@pytest.mark.parametrize("value", [np.nan, np.inf, 800.0, -800.0])
def test_that_a_permeability_that_is_not_physical_fails_the_member_and_names_the_cell(value):
    field = LOG_K.copy()
    field[3, 2] = value
    with pytest.raises(ModelFailed, match=r"'logk' cannot be used at \[3, 2\] \(1 entries"):
        forecast(reservoir(), logk=field)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_that_a_permeability_of_nothing_or_less_fails_the_member(value):
    field = np.exp(LOG_K)
    field[0, 7] = value
    with pytest.raises(ModelFailed, match=r"\[0, 7\]"):
        forecast(reservoir(permeability_is="linear"), logk=field)


def test_that_permeabilities_too_far_apart_fail_the_member():
    field = np.where(np.arange(8) < 4, 60.0, -60.0) * np.ones((6, 1))
    with pytest.raises(ModelFailed, match="cannot be solved to sufficient accuracy"):
        forecast(reservoir(), logk=field)


def test_that_a_cell_that_is_cut_off_fails_the_member():
    chain = Network(np.array([0, 1, 2]), np.array([1, 2, 3]), np.ones(3), 3, 2)
    where = pattern(chain, 3)
    with pytest.raises(ModelFailed, match="singular"):
        solve(chain, where, np.array([0.0, 1.0, 1.0]), np.zeros(3), np.array([100.0]))


def test_that_too_many_steps_fail_the_member():
    with pytest.raises(ModelFailed, match="at most 3 steps"):
        forecast(reservoir(max_steps=3), logk=LOG_K)


def test_that_wells_that_contradict_each_other_fail_the_member():
    backwards = ({**INJECTOR, "rate": None, "pressure": 50.0}, PRODUCER)
    with pytest.raises(ModelFailed, match="contradict"):
        forecast(reservoir(wells=backwards), logk=LOG_K)
    too_much = ({**PRODUCER, "name": "Q", "column": 0, "pressure": None, "rate": 80.0}, INJECTOR, PRODUCER)
    with pytest.raises(ModelFailed, match="contradict"):
        forecast(reservoir(wells=too_much), logk=LOG_K)


def test_that_a_producer_shuts_where_it_would_inject():
    high = {**PRODUCER, "name": "Q", "row": 0, "column": 7, "pressure": 5000.0}
    with_it = reservoir(wells=(INJECTOR, PRODUCER, high))
    table = with_it.observables()
    predicted = forecast(with_it, logk=LOG_K)
    np.testing.assert_array_equal(predicted[table["well"] == "Q"], 0.0)
    np.testing.assert_allclose(predicted[table["well"] != "Q"], EVERYTHING, rtol=1e-9, atol=1e-9)


def test_that_variables_missing_or_of_another_shape_are_named():
    with pytest.raises(DataError, match="needs the variable 'logk'"):
        forecast(reservoir(), permx=LOG_K)
    with pytest.raises(DataError, match=r"(?s)'logk' has not the shape.*\(8, 6\).*\(6, 8\)"):
        forecast(reservoir(), logk=LOG_K.T)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": "WGPR", "well": "P", "time": 30.0}, ["kind = WGPR", "WBHP, WOPR, WWPR"]),
        ({"kind": "WOPR", "well": "I", "time": 30.0}, ["well = I", "row 0"]),
        ({"kind": "WOPR", "name": "P", "time": 31.0}, ["row 0 (P WOPR at 31.0)", "30, 60, 90"]),
        ({"kind": "WOPR", "time": 30.0}, ["columns kind, time", "kind and well and time"]),
    ],
)
def test_that_rows_it_cannot_predict_are_named(row, said):
    with pytest.raises(DataError) as caught:
        forecast(reservoir(), {key: np.array([value]) for key, value in row.items()}, logk=LOG_K)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wells": ({**INJECTOR, "row": 6}, PRODUCER)}, r"wells\.0\.row.*outside.*0 to 5"),
        ({"wells": (INJECTOR, {**PRODUCER, "layers": (1,)})}, r"wells\.1\.layers.*0 to 0"),
        ({"wells": (INJECTOR, {**PRODUCER, "name": "I"})}, "same name"),
        ({"wells": ({**INJECTOR, "pressure": 3.0}, PRODUCER)}, "either 'rate' or 'pressure'"),
        ({"wells": ({**INJECTOR, "radius": 5.0}, PRODUCER)}, r"wells\.0\.radius.*Peaceman"),
        ({"wells": (INJECTOR,)}, "at least one well with 'pressure'"),
        ({"report_times": (30.0, 30.0)}, "times must rise"),
        ({"report_times": {"every": 30.0, "until": 20.0}}, "times must rise"),
        ({"porosity": 0.0}, "porosity"),
        ({"initial_water": 0.1}, "initial_water"),
        ({"fluids": {"connate_water": 0.6, "residual_oil": 0.4}}, "leave nothing that moves"),
        ({"shape": (6,)}, "shape"),
        ({"perm": "logk"}, "perm"),
    ],
)
def test_that_settings_without_sense_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        reservoir(**changes)


def test_that_regular_times_end_at_the_last_multiple_though_numbers_round():
    assert len(reservoir(report_times={"every": 0.1, "until": 0.3}).settings.times) == 3
