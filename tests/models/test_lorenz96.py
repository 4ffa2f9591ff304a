from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from daflow.config.builtin_models import Lorenz96Settings
from daflow.errors import DataError, ModelFailed
from daflow.models.integrators import RungeKutta4, rk4_step
from daflow.models.lorenz96 import Lorenz96, Ring, lorenz96_tendency
from daflow.ports import MemberInput

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "l96_model.npz")
RINGS = arrays(np.float64, 12, elements=st.floats(-20.0, 20.0))


def member(parameters, observations):
    return MemberInput(0, 0, parameters, observations, 0, Path(), Path())


def rows(table, where):
    return {name: column[where] for name, column in table.items()}


def test_that_the_tendency_is_the_reference_s():
    np.testing.assert_allclose(lorenz96_tendency(GOLDEN["x"], 8.0), GOLDEN["rhs"], rtol=1e-9)


def test_that_one_step_and_twenty_are_the_reference_s():
    state = GOLDEN["traj"][0]
    for expected in GOLDEN["traj"][1:]:
        state = rk4_step(lambda x: lorenz96_tendency(x, 8.0), state, 0.05)
        np.testing.assert_allclose(state, expected, rtol=1e-9)


@given(state=RINGS, shift=st.integers(-12, 12))
def test_that_turning_the_ring_turns_the_tendency(state, shift):
    turned = lorenz96_tendency(np.roll(state, shift), 8.0)
    np.testing.assert_array_equal(turned, np.roll(lorenz96_tendency(state, 8.0), shift))


@given(state=RINGS, forcing=st.floats(-10.0, 10.0))
def test_that_the_advection_keeps_the_sum_of_squares(state, forcing):
    left = state @ lorenz96_tendency(state, forcing)
    right = -state @ state + forcing * state.sum()
    assert left == pytest.approx(right, abs=1e-10 * (1.0 + np.abs(state).max() ** 3))


@given(states=arrays(np.float64, (3, 8), elements=st.floats(-20.0, 20.0)))
def test_that_members_at_once_are_members_one_by_one(states):
    forcing = np.array([[6.0], [8.0], [10.0]])
    together = lorenz96_tendency(states, forcing)
    for one, state, force in zip(together, states, forcing, strict=True):
        np.testing.assert_array_equal(one, lorenz96_tendency(state, force))


def test_that_a_forecast_shows_the_trajectory_at_the_observed_components_and_times():
    model = Lorenz96(Lorenz96Settings(every_steps=5, n_times=4, observe_every=3))
    table = model.observables()
    predicted = model.forecast(member({"x": GOLDEN["x"]}, table))
    np.testing.assert_allclose(predicted.reshape(4, 14), GOLDEN["traj"][5::5, ::3], rtol=1e-9)
    np.testing.assert_allclose(np.unique(table["time"]), [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(table["x"], table["component"])
    assert len(set(zip(table["name"], table["time"], strict=True))) == 56


def test_that_an_estimated_forcing_forecasts_as_a_given_one():
    given_one, estimated = Lorenz96(Lorenz96Settings(forcing=7.5)), Lorenz96(Lorenz96Settings(forcing="F"))
    table = given_one.observables()
    expected = given_one.forecast(member({"x": GOLDEN["x"]}, table))
    for force in (np.array(7.5), np.array([7.5])):
        predicted = estimated.forecast(member({"x": GOLDEN["x"], "F": force}, table))
        np.testing.assert_array_equal(predicted, expected)


@settings(max_examples=20)
@given(order=st.lists(st.integers(0, 19), min_size=1, max_size=30))
def test_that_the_order_of_the_rows_asked_is_kept(order):
    model = Lorenz96(Lorenz96Settings(n_times=2, observe_every=4))
    table = model.observables()
    everything = model.forecast(member({"x": GOLDEN["x"]}, table))
    some = model.forecast(member({"x": GOLDEN["x"]}, rows(table, order)))
    np.testing.assert_array_equal(some, everything[order])


def test_that_rows_of_a_table_with_names_and_times_alone_are_found():
    model = Lorenz96(Lorenz96Settings(n=8, n_times=2))
    table = model.observables()
    everything = model.forecast(member({"x": np.arange(8.0)}, table))
    asked = {"name": np.array(["x:3", "x:0"]), "time": np.array([0.1, 0.05])}
    named = model.forecast(member({"x": np.arange(8.0)}, asked))
    np.testing.assert_array_equal(named, everything[[11, 0]])


@pytest.mark.parametrize(
    ("observations", "said"),
    [
        ({"component": np.array([3, 9]), "time": np.array([0.05, 0.05])}, ["row 1", "component = 9", "0, 1"]),
        ({"component": np.array([3]), "time": np.array([0.07])}, ["row 0", "time = 0.07", "0.05"]),
        (
            {"name": np.array(["y:1"]), "time": np.array([0.05])},
            ["row 0 (y:1 at 0.05)", "x:0, x:1", "correct the observations"],
        ),
        ({"value": np.array([1.0])}, ["columns value", "component and time, or name and time"]),
    ],
)
def test_that_rows_it_cannot_predict_are_named(observations, said):
    with pytest.raises(DataError) as caught:
        Lorenz96(Lorenz96Settings(n=8)).forecast(member({"x": np.zeros(8)}, observations))
    for words in said:
        assert words in str(caught.value)


def test_that_variables_missing_or_of_another_shape_are_named():
    model = Lorenz96(Lorenz96Settings(n=8, forcing="F"))
    table = model.observables()
    for parameters, words in (
        ({"y": np.zeros(8)}, "needs the variable 'x'"),
        ({"x": np.zeros((2, 4)), "F": np.array(8.0)}, "'x' has not the shape"),
        ({"x": np.zeros(8), "F": np.zeros(8)}, "'F' has not the shape"),
    ):
        with pytest.raises(DataError, match=words):
            model.forecast(member(parameters, table))


def test_that_a_state_that_is_not_finite_or_blows_up_fails_the_member():
    model = Lorenz96(Lorenz96Settings(n=8, time_step=1.0, every_steps=20))
    state = np.zeros(8)
    state[5] = np.nan
    with pytest.raises(ModelFailed, match=r"'x' cannot be used at \[5\]"):
        model.forecast(member({"x": state}, model.observables()))
    with pytest.raises(ModelFailed, match="grew beyond all bounds"):
        model.forecast(member({"x": 50.0 * np.arange(8.0)}, model.observables()))


def test_that_settings_without_sense_are_refused():
    for wrong in ({"n": 3}, {"time_step": 0.0}, {"every_steps": 0}, {"forcing": True}, {"step": 1}):
        with pytest.raises(ValidationError):
            Lorenz96Settings(**wrong)


@given(states=arrays(np.float64, (3, 8), elements=st.floats(-20.0, 20.0)), n_steps=st.integers(1, 4))
def test_that_steps_in_place_are_the_plain_scheme_of_the_plain_tendency(states, n_steps):
    forcing = np.array([[6.0], [8.0], [10.0]]) * np.ones(8)
    ring = Ring(3, 8, forcing)
    plain = states
    for _ in range(n_steps):
        plain = rk4_step(lambda x: lorenz96_tendency(x, forcing), plain, 0.05)
    end = RungeKutta4(ring.tendency, ring.stage, 0.05, states.copy()).carry(n_steps)
    np.testing.assert_array_equal(end, plain)


def test_that_a_member_that_blows_up_does_not_fail_the_others():
    model = Lorenz96(Lorenz96Settings(n=8, time_step=0.1, every_steps=20))
    states = (np.arange(8.0), 1e3 * np.arange(8.0), 8.0 + 0.1 * np.arange(8.0))
    inputs = [member({"x": state}, model.observables()) for state in states]
    results = model.forecast_many(inputs)
    assert isinstance(results[1], ModelFailed)
    for one in (0, 2):
        np.testing.assert_array_equal(results[one], model.forecast(inputs[one]))


def test_that_a_component_that_blows_up_unobserved_fails_the_member():
    model = Lorenz96(Lorenz96Settings(n=8, time_step=1.0, every_steps=3, observe_every=8))
    state = np.zeros(8)
    state[3:6] = 1e120
    with pytest.raises(ModelFailed, match="grew beyond all bounds"):
        model.forecast(member({"x": state}, model.observables()))
