from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from daflow.config.chaotic_models import KuramotoSivashinskySettings
from daflow.errors import ModelFailed
from daflow.models.kuramoto_sivashinsky import KuramotoSivashinsky, Waves
from daflow.ports import MemberInput

N, LENGTH = 48, 22.0
PLACES = LENGTH / N * np.arange(N)

MODES = arrays(np.float64, 6, elements=st.floats(-2.0, 2.0))


def forecast(state, **more):
    model = KuramotoSivashinsky(
        KuramotoSivashinskySettings(**({"n": state.size, "length": LENGTH, "every_steps": 20} | more))
    )
    return model.forecast(MemberInput(0, 0, {"u": state}, model.observables(), 0, Path(), Path()))


def waves_of(amplitudes):
    """Return a smooth state: three waves with cosines and sines of these amplitudes."""
    angles = 2.0 * np.pi * PLACES / LENGTH * np.arange(1, 4)[:, np.newaxis]
    return amplitudes[:3] @ np.cos(angles) + amplitudes[3:] @ np.sin(angles)


@settings(max_examples=20)
@given(amplitudes=MODES, mean=st.floats(-2.0, 2.0))
def test_that_the_mean_is_kept(amplitudes, mean):
    assert forecast(waves_of(amplitudes) + mean).mean() == pytest.approx(mean, abs=1e-12)


@settings(max_examples=20)
@given(amplitudes=MODES, turn=st.integers(0, N - 1))
def test_that_a_state_turned_along_the_ring_stays_turned(amplitudes, turn):
    state = waves_of(amplitudes)
    np.testing.assert_allclose(forecast(np.roll(state, turn)), np.roll(forecast(state), turn), atol=1e-10)


@settings(max_examples=20)
@given(amplitudes=MODES)
def test_that_a_state_mirrored_with_its_sign_changed_stays_so(amplitudes):
    state = waves_of(amplitudes)
    np.testing.assert_allclose(forecast(-state[::-1]), -forecast(state)[::-1], atol=1e-10)


@pytest.mark.parametrize("wave", [1, 2, 3, 4, 6])
def test_that_a_wave_of_small_amplitude_grows_at_its_rate(wave):
    k = 2.0 * np.pi * wave / LENGTH
    start = 1e-9 * np.cos(k * PLACES)
    np.testing.assert_allclose(
        forecast(start), start * np.exp((k**2 - k**4) * 20 * 0.25), rtol=0, atol=1e-6 * np.abs(start).max()
    )


@given(state=arrays(np.float64, (2, N), elements=st.floats(-5.0, 5.0)))
def test_that_the_product_term_keeps_the_sum_of_squares(state):
    waves = Waves(state, LENGTH, 0.25)
    modes = np.fft.rfft(state, axis=1)
    modes[:, N // 3 :] = 0.0
    out = np.empty_like(modes)
    waves.product(modes, out)
    kept, change = np.fft.irfft(modes, N, axis=1), np.fft.irfft(out, N, axis=1)
    np.testing.assert_allclose((kept * change).sum(axis=1), 0.0, atol=1e-9)


def test_that_the_product_term_is_the_slope_times_the_state():
    state = smooth(N)[np.newaxis]
    waves = Waves(state, LENGTH, 0.25)
    modes = np.fft.rfft(state, axis=1)
    out = np.empty_like(modes)
    waves.product(modes, out)
    wave = 2.0 * np.pi / LENGTH * np.arange(N // 2 + 1)
    slope = np.fft.irfft(1j * wave * modes, N, axis=1)
    np.testing.assert_allclose(np.fft.irfft(out, N, axis=1), -state * slope, atol=1e-12)


def smooth(n):
    places = 2.0 * np.pi / n * np.arange(n)
    return np.cos(places) * (1.0 + np.sin(2.0 * places))


def test_that_the_error_falls_with_the_fourth_power_of_a_step_that_resolves_all_modes():
    ends = {n: forecast(smooth(16), time_step=1.0 / n, every_steps=n) for n in (10, 20, 40, 640)}
    errors = np.array([np.abs(ends[n] - ends[640]).max() for n in (10, 20, 40)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 4.0, atol=0.1)


def test_that_the_error_falls_with_the_third_power_at_least_where_modes_decay_within_a_step():
    ends = {n: forecast(smooth(64), time_step=1.0 / n, every_steps=n) for n in (4, 8, 16, 160)}
    errors = np.array([np.abs(ends[n] - ends[160]).max() for n in (4, 8, 16)])
    assert (np.log2(errors[:-1] / errors[1:]) > 3.0).all()


def test_that_a_finer_grid_changes_nothing_that_is_seen():
    np.testing.assert_allclose(forecast(smooth(128), observe_every=2), forecast(smooth(64)), atol=1e-6)


def test_that_times_follow_each_other_without_a_seam():
    whole = forecast(smooth(N), n_times=2, every_steps=10)
    np.testing.assert_array_equal(whole[N:], forecast(smooth(N), every_steps=20))


def test_that_the_table_places_the_points_and_a_state_that_blows_up_fails():
    settings = KuramotoSivashinskySettings(n=N, length=LENGTH, observe_every=12, n_times=2)
    table = KuramotoSivashinsky(settings).observables()
    np.testing.assert_allclose(table["x"], np.tile([0.0, 5.5, 11.0, 16.5], 2))
    with pytest.raises(ModelFailed, match="beyond all bounds"):
        forecast(1e6 * smooth(N))
