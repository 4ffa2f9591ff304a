from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from daflow.config.chaotic_models import TwoScaleSettings
from daflow.errors import ModelFailed
from daflow.models.integrators import rk4_step
from daflow.models.lorenz96 import lorenz96_tendency
from daflow.models.lorenz96_two_scale import LorenzTwoScale, Scales, two_scale_tendency
from daflow.ports import MemberInput

N, N_FAST = 5, 3
STATES = arrays(np.float64, (4, N + N * N_FAST), elements=st.floats(-10.0, 10.0))
NUMBERS = arrays(np.float64, (4, 4), elements=st.floats(0.5, 12.0))
RANDOM = np.random.default_rng(3)
SLOW, FAST = 3.0 + RANDOM.standard_normal(N), 0.1 * RANDOM.standard_normal(N * N_FAST)


def forecast(model, **parameters):
    parameters = {name: np.asarray(values) for name, values in parameters.items()}
    return model.forecast(MemberInput(0, 0, parameters, model.observables(), 0, Path(), Path()))


def small(**more):
    return LorenzTwoScale(TwoScaleSettings(n=N, n_fast=N_FAST, **more))


@given(states=STATES, numbers=NUMBERS)
def test_that_what_one_scale_gives_the_other_gets(states, numbers):
    forcing, coupling, c, b = numbers[..., np.newaxis]
    tendency = two_scale_tendency(states, N, forcing, coupling, (c, b))
    slow, fast = states[:, :N], states[:, N:]
    left = (states * tendency).sum(axis=1)
    right = -(slow**2).sum(axis=1) - c[:, 0] * (fast**2).sum(axis=1) + forcing[:, 0] * slow.sum(axis=1)
    scale = 1.0 + np.abs(states * tendency).sum(axis=1)
    np.testing.assert_allclose(left / scale, right / scale, atol=1e-12)


@given(states=STATES)
def test_that_without_coupling_the_slow_ring_is_lorenz_96(states):
    tendency = two_scale_tendency(states, N, 8.0, 0.0, (10.0, 10.0))
    np.testing.assert_array_equal(tendency[:, :N], lorenz96_tendency(states[:, :N], 8.0))


@given(states=STATES, turn=st.integers(0, N - 1))
def test_that_both_rings_turned_by_whole_sectors_turn_the_tendency(states, turn):
    def turned(both):
        slow, fast = np.roll(both[:, :N], turn, axis=1), np.roll(both[:, N:], turn * N_FAST, axis=1)
        return np.concatenate((slow, fast), axis=1)

    def tendency(both):
        return two_scale_tendency(both, N, 10.0, 1.0, (10.0, 10.0))

    np.testing.assert_allclose(tendency(turned(states)), turned(tendency(states)), rtol=1e-12, atol=1e-10)


@given(states=STATES, numbers=NUMBERS)
def test_that_the_tendency_in_place_is_the_plain_one(states, numbers):
    forcing, coupling, c, b = numbers
    scales = Scales(4, (N, N_FAST), np.repeat(forcing[np.newaxis], N, axis=0).T, coupling, c, b)
    out = np.empty_like(scales.stage)
    np.copyto(scales.stage, states)
    scales.tendency(out)
    columns = numbers[..., np.newaxis]
    plain = two_scale_tendency(states, N, columns[0], columns[1], (columns[2], columns[3]))
    np.testing.assert_allclose(out, plain, rtol=1e-12, atol=1e-12 * np.abs(plain).max())


def test_that_a_forecast_is_the_plain_scheme_and_converges_in_fourth_order():
    ends, start = {}, np.concatenate((SLOW, FAST))
    for n in (32, 64, 128, 1024):
        model = small(time_step=0.2 / n, every_steps=n, observe="both")
        ends[n] = forecast(model, x=SLOW, y=FAST)
    plain = start
    for _ in range(32):
        plain = rk4_step(lambda s: two_scale_tendency(s, N, 10.0, 1.0, (10.0, 10.0)), plain, 0.2 / 32)
    np.testing.assert_allclose(ends[32], plain, rtol=1e-11)
    errors = np.array([np.abs(ends[n] - ends[1024]).max() for n in (32, 64, 128)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 4.0, atol=0.3)


def test_that_the_table_counts_over_both_scales_and_places_the_fast_in_their_sectors():
    table = small(observe="both", observe_every=2).observables()
    assert table["name"].tolist() == ["x:0", "x:2", "x:4", *(f"y:{i}" for i in range(0, 15, 2))]
    assert table["component"].tolist() == [0, 2, 4, *range(5, 20, 2)]
    np.testing.assert_allclose(table["x"][3:], np.arange(0, 15, 2) / 3.0)
    assert set(small().observables()["kind"]) == {"x"}


def test_that_numbers_may_be_variables_and_one_without_sense_fails_the_member():
    given_ones, own = small(), small(forcing="F", coupling="h", time_ratio="c", space_ratio="b")
    numbers = {"F": 10.0, "h": 1.0, "c": 10.0, "b": 10.0}
    expected = forecast(given_ones, x=SLOW, y=FAST)
    np.testing.assert_allclose(forecast(own, x=SLOW, y=FAST, **numbers), expected, rtol=1e-13)
    with pytest.raises(ModelFailed, match="beyond all bounds"):
        forecast(own, x=SLOW, y=FAST, **(numbers | {"b": 0.0}))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fast": "x"}, "another name"),
        ({"space_ratio": 0.0}, "divides"),
        ({"n": 3}, "n"),
        ({"n_fast": 0}, "n_fast"),
    ],
)
def test_that_settings_without_sense_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        TwoScaleSettings(**wrong)
