from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from daflow.config.chaotic_models import Lorenz63Settings
from daflow.models.integrators import rk4_step
from daflow.models.lorenz63 import Convection, Lorenz63, lorenz63_tendency
from daflow.ports import MemberInput

USUAL = (10.0, 28.0, 8.0 / 3.0)
STATES = arrays(np.float64, (4, 3), elements=st.floats(-40.0, 40.0))
NUMBERS = arrays(np.float64, 4, elements=st.floats(0.5, 30.0))


def forecast(model, **parameters):
    parameters = {name: np.asarray(values) for name, values in parameters.items()}
    return model.forecast(MemberInput(0, 0, parameters, model.observables(), 0, Path(), Path()))


@given(state=STATES)
def test_that_turned_half_about_the_z_axis_the_tendency_turns_with_the_state(state):
    turn = np.array([-1.0, -1.0, 1.0])
    np.testing.assert_array_equal(
        lorenz63_tendency(turn * state, *USUAL), turn * lorenz63_tendency(state, *USUAL)
    )


@given(sigma=st.floats(0.1, 20.0), rho=st.floats(1.0, 50.0), beta=st.floats(0.1, 5.0))
def test_that_the_tendency_vanishes_at_the_three_fixed_points(sigma, rho, beta):
    across = np.sqrt(beta * (rho - 1.0))
    rest = np.array([[0.0, 0.0, 0.0], [across, across, rho - 1.0], [-across, -across, rho - 1.0]])
    np.testing.assert_allclose(lorenz63_tendency(rest, sigma, rho, beta), 0.0, atol=1e-11)


@given(state=STATES)
def test_that_volumes_shrink_at_the_rate_of_sigma_one_and_beta_together(state):
    step = 1e-3
    # Of a quadratic function central differences are exact.
    trace = sum(
        lorenz63_tendency(state + step * axis, *USUAL)[:, i]
        - lorenz63_tendency(state - step * axis, *USUAL)[:, i]
        for i, axis in enumerate(np.eye(3))
    )
    np.testing.assert_allclose(trace / (2.0 * step), -(10.0 + 1.0 + 8.0 / 3.0), rtol=1e-8)


@given(states=STATES, sigma=NUMBERS, rho=NUMBERS, beta=NUMBERS)
def test_that_the_tendency_in_place_is_the_plain_one(states, sigma, rho, beta):
    flow = Convection(4, sigma, rho, beta)
    out = np.empty_like(flow.stage)
    np.copyto(flow.stage, states)
    flow.tendency(out)
    np.testing.assert_array_equal(out, lorenz63_tendency(states, sigma, rho, beta))


def test_that_a_forecast_is_the_plain_scheme_and_converges_in_fourth_order():
    start = np.array([1.5, -1.5, 25.5])
    ends = {}
    for n in (20, 40, 80, 1280):
        model = Lorenz63(Lorenz63Settings(time_step=0.4 / n, every_steps=n))
        ends[n] = forecast(model, x=start)
        plain = start
        for _ in range(n):
            plain = rk4_step(lambda state: lorenz63_tendency(state, *USUAL), plain, 0.4 / n)
        np.testing.assert_array_equal(ends[n], plain)
    errors = np.array([np.abs(ends[n] - ends[1280]).max() for n in (20, 40, 80)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 4.0, atol=0.3)


def test_that_some_of_the_three_are_observed_and_numbers_may_be_variables():
    start = np.array([1.0, 2.0, 20.0])
    whole = Lorenz63(Lorenz63Settings(n_times=2, every_steps=5))
    some = Lorenz63(Lorenz63Settings(n_times=2, every_steps=5, observe=("z", "x"), rho="r", beta="b"))
    table = some.observables()
    assert table["name"].tolist() == ["x:z", "x:x", "x:z", "x:x"]
    assert table["component"].tolist() == [2, 0, 2, 0]
    np.testing.assert_array_equal(
        forecast(some, x=start, r=28.0, b=[8.0 / 3.0]), forecast(whole, x=start)[[2, 0, 5, 3]]
    )


@pytest.mark.parametrize("wrong", [{"observe": ()}, {"observe": ("x", "x")}, {"observe": ("w",)}, {"n": 3}])
def test_that_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Lorenz63Settings(**wrong)
