from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from daflow.models.integrators import Etdrk4, RungeKutta4, etdrk4_weights, rk4_step
from daflow.models.lorenz96 import lorenz96_tendency

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "l96_model.npz")


def carry(tendency, state, time_step, n_steps):
    for _ in range(n_steps):
        state = rk4_step(tendency, state, time_step)
    return state


def test_that_the_error_falls_with_the_fourth_power_of_the_time_step():
    def turn(state):
        return np.array([-state[1], state[0]])

    exact = np.array([np.cos(2.0), np.sin(2.0)])
    errors = [np.abs(carry(turn, np.array([1.0, 0.0]), 2.0 / n, n) - exact).max() for n in (10, 20, 40, 80)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(orders, 4.0, atol=0.15)


def test_that_the_error_falls_so_for_a_nonlinear_model_too():
    start = GOLDEN["x"]
    ends = [carry(lambda x: lorenz96_tendency(x, 8.0), start, 0.4 / n, n) for n in (16, 32, 64, 512)]
    errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(orders, 4.0, atol=0.25)


@given(rate=st.floats(-10.0, 10.0), time_step=st.floats(1e-3, 10.0))
def test_that_a_constant_tendency_is_integrated_exactly(rate, time_step):
    end = rk4_step(lambda x: np.full_like(x, rate), np.zeros(3), time_step)
    np.testing.assert_allclose(end, rate * time_step, rtol=1e-14)


@given(state=arrays(np.float64, (3, 2), elements=st.floats(-2.0, 2.0)), n_steps=st.integers(0, 3))
def test_that_the_scheme_in_place_is_the_plain_one(state, n_steps):
    stage = np.empty((3, 2))

    def spiral(out):
        np.subtract(stage[:, ::-1] * np.array([-1.0, 1.0]), stage**3, out=out)

    plain = carry(lambda x: x[:, ::-1] * np.array([-1.0, 1.0]) - x**3, state, 0.1, n_steps)
    np.testing.assert_array_equal(RungeKutta4(spiral, stage, 0.1, state.copy()).carry(n_steps), plain)


GROWTH = np.array([-1.0, 0.5, 0.0])
START = np.array([[0.3 + 0.1j, 0.2j, 1.0]])


def exponential(rest, n_steps, growth=GROWTH, start=START):
    return Etdrk4(rest, etdrk4_weights(growth, 1.0 / n_steps), start.copy()).carry(n_steps)


def test_that_exponential_time_differencing_is_exact_where_there_is_no_rest():
    for rate in (-1e6, -30.0, -1.0, -1e-9, 0.0, 1e-7, 2.0):
        end = exponential(lambda modes, out: out.fill(0.0), 3, np.full(3, rate))
        np.testing.assert_allclose(end, START * np.exp(rate), rtol=1e-14)


def test_that_it_is_exact_for_a_constant_rest_too():
    end = exponential(lambda modes, out: out.fill(2.0), 4)
    forced = np.where(GROWTH == 0.0, 1.0, np.expm1(GROWTH) / np.where(GROWTH == 0.0, 1.0, GROWTH))
    np.testing.assert_allclose(end, START * np.exp(GROWTH) + 2.0 * forced, rtol=1e-13)


def test_that_its_error_falls_with_the_fourth_power_of_the_time_step():
    def rest(modes, out):
        np.multiply(modes * modes, -1.0 + 0.5j, out=out)

    ends = {n: exponential(rest, n) for n in (5, 10, 20, 640)}
    errors = np.array([np.abs(ends[n] - ends[640]).max() for n in (5, 10, 20)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 4.0, atol=0.1)


def test_that_without_a_linear_part_it_is_the_scheme_of_runge_and_kutta():
    def rest(modes, out):
        np.multiply(modes, modes, out=out)

    end = exponential(rest, 2, np.zeros(3))
    np.testing.assert_allclose(end, carry(np.square, START, 0.5, 2), rtol=1e-13)
