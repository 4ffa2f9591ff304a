from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daflow.models.integrators import rk4_step
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
