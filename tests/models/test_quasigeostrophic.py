from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from daflow.config.quasigeostrophic import QuasigeostrophicSettings
from daflow.errors import ModelFailed
from daflow.models.quasigeostrophic import (
    Basin,
    Quasigeostrophic,
    sine_transform,
    sines_by_fft,
    sines_by_products,
    spacings,
    speed,
)
from daflow.ports import MemberInput

GOLDEN = [np.load(path) for path in sorted((Path(__file__).parents[1] / "golden").glob("qg_*.npz"))]
SHAPE = (9, 6)
FIELDS = arrays(np.float64, SHAPE, elements=st.floats(-5.0, 5.0))
HEIGHT, WIDTH = spacings(SHAPE)
Y, X = np.meshgrid(HEIGHT * np.arange(1, 10), WIDTH * np.arange(1, 7), indexing="ij")
SMOOTH = np.sin(np.pi * X) * np.sin(np.pi * Y / 2.0) + 0.3 * np.sin(2.0 * np.pi * X) * np.sin(np.pi * Y)


def basin_of(psi, reynolds=450.0, rossby=0.0036):
    basin = Basin(psi.shape, reynolds, rossby)
    basin.stage[...] = np.pad(psi, ((0, 0), (1, 1))).ravel()
    return basin


def inside(field, shape=SHAPE):
    """Return a field without its walls, where it must be nothing."""
    walled = field.reshape(shape[0], -1)
    assert not walled[:, [0, -1]].any()
    return walled[:, 1:-1]


def tendency(psi, **numbers):
    basin = basin_of(psi, **numbers)
    out = np.empty_like(basin.stage)
    basin.tendency(out)
    return inside(out, psi.shape)


def forecast(psi, **more):
    model = Quasigeostrophic(QuasigeostrophicSettings(shape=psi.shape, **more))
    return model.forecast(MemberInput(0, 0, {"psi": psi}, model.observables(), 0, Path(), Path()))


def test_that_there_are_two_golden_files():
    assert len(GOLDEN) == 2


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: str(golden["psi"].shape))
def test_that_vorticity_jacobian_tendency_and_speed_are_the_reference_s(golden):
    # There x comes first.
    psi = golden["psi"].T
    basin = basin_of(psi, float(golden["Re"]), float(golden["Ro"]))
    found = {
        "vorticity": inside(basin.vorticity(), psi.shape),
        "jac": inside(basin.jacobian(), psi.shape),
        "rhs": tendency(psi, reynolds=float(golden["Re"]), rossby=float(golden["Ro"])),
        "speed": speed(psi[np.newaxis])[0],
    }
    for name, values in found.items():
        expected = golden[name].T
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@given(psi=FIELDS)
def test_that_the_jacobian_gives_away_no_energy_and_no_enstrophy(psi):
    basin = basin_of(psi)
    jacobian, vorticity = inside(basin.jacobian()), inside(basin.vorticity())
    for what in (psi, vorticity):
        # Of products of three fields that differences divide by two spacings, rounding is what is left.
        size = np.abs(what).max() * np.abs(psi).max() * np.abs(vorticity).max() / (WIDTH * HEIGHT)
        assert abs((what * jacobian).sum()) <= 1e-14 * psi.size * size


@given(psi=FIELDS)
def test_that_a_state_mirrored_in_y_with_its_sign_changed_has_the_mirrored_tendency(psi):
    there = tendency(psi)
    np.testing.assert_allclose(tendency(-psi[::-1]), -there[::-1], atol=1e-11 * (1.0 + np.abs(there).max()))


@given(psi=FIELDS)
def test_that_the_laplacian_of_its_inverse_is_the_field(psi):
    basin = basin_of(psi)
    vorticity = inside(basin.vorticity())
    np.testing.assert_allclose(basin.invert_laplacian(vorticity), psi, atol=1e-11)


@given(psi=FIELDS)
def test_that_sines_by_products_are_sines_by_fft_and_their_own_inverse(psi):
    modes = sines_by_products(SHAPE)(psi)
    np.testing.assert_allclose(modes, sines_by_fft(psi), rtol=0, atol=1e-12 * (1.0 + np.abs(psi).max()))
    np.testing.assert_allclose(sines_by_fft(modes), psi, rtol=0, atol=1e-12 * (1.0 + np.abs(psi).max()))


def test_that_large_fields_are_transformed_by_fft():
    assert sine_transform((127, 63)) is sines_by_fft
    assert sine_transform((63, 31)) is not sines_by_fft


def test_that_a_wave_of_the_basin_dies_out_at_its_rate():
    # Almost no rotation, no wind to speak of, and a mode, whose Jacobian vanishes.
    mode = np.sin(np.pi * X) * np.sin(np.pi * Y)
    eigenvalue = (
        2.0 * (1.0 - np.cos(np.pi * WIDTH)) / WIDTH**2 + 2.0 * (1.0 - np.cos(np.pi * HEIGHT)) / HEIGHT**2
    )
    numbers = {"reynolds": 10.0, "rossby": 1e12}
    expected = -eigenvalue / 10.0 * mode
    np.testing.assert_allclose(tendency(mode, **numbers), expected, atol=1e-9)
    end = forecast(mode, time_step=0.01, every_steps=20, **numbers)
    np.testing.assert_allclose(end, (np.exp(-eigenvalue * 0.02) * mode).ravel(), atol=1e-6)


def test_that_differences_converge_in_second_order():
    def psi_of(y, x):
        return np.sin(np.pi * x) * np.sin(np.pi * y / 2.0)

    def error(n):
        shape = (2 * n + 1, n)
        height, width = spacings(shape)
        y, x = np.meshgrid(height * np.arange(1, 2 * n + 2), width * np.arange(1, n + 1), indexing="ij")
        found = inside(basin_of(psi_of(y, x)).vorticity(), shape)
        return np.abs(found - 1.25 * np.pi**2 * psi_of(y, x)).max()

    errors = np.array([error(n) for n in (7, 15, 31)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 2.0, atol=0.05)


def test_that_the_error_falls_with_the_fourth_power_of_the_time_step():
    ends = {n: forecast(SMOOTH, time_step=0.02 / n, every_steps=n) for n in (10, 20, 40, 320)}
    errors = np.array([np.abs(ends[n] - ends[320]).max() for n in (10, 20, 40)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 4.0, atol=0.3)


def test_that_without_wind_and_viscosity_energy_and_enstrophy_are_kept():
    def energy_and_enstrophy(psi):
        vorticity = inside(basin_of(psi).vorticity())
        return np.array([(psi * vorticity).sum(), (vorticity**2).sum()])

    end = forecast(SMOOTH, reynolds=1e12, rossby=1e9, time_step=0.002, every_steps=100).reshape(SHAPE)
    assert np.abs(end - SMOOTH).max() > 0.05
    np.testing.assert_allclose(energy_and_enstrophy(end), energy_and_enstrophy(SMOOTH), rtol=1e-7)


def test_that_the_table_places_rows_along_y_and_names_points_by_row_and_column():
    table = Quasigeostrophic(QuasigeostrophicSettings(shape=SHAPE, observe_every=4)).observables()
    names = ["0,0", "0,4", "4,0", "4,4", "8,0", "8,4"]
    assert table["name"].tolist() == [f"streamfunction:{name}" for name in names]
    assert table["component"].tolist() == [0, 4, 24, 28, 48, 52]
    np.testing.assert_allclose(table["x"], np.tile([1 / 7, 5 / 7], 3))
    np.testing.assert_allclose(table["y"], np.repeat([0.2, 1.0, 1.8], 2))


@settings(max_examples=10)
@given(points=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), min_size=1, max_size=5, unique=True))
def test_that_points_are_where_the_user_says(points):
    flow = forecast(SMOOTH, observe="speed", every_steps=2)
    some = forecast(SMOOTH, observe="speed", every_steps=2, points=tuple(points))
    np.testing.assert_array_equal(some, [flow[row * SHAPE[1] + column] for row, column in points])
    psi = forecast(SMOOTH, every_steps=2).reshape(SHAPE)
    np.testing.assert_allclose(flow, speed(psi[np.newaxis]).ravel(), rtol=1e-13)


def test_that_times_follow_each_other_without_a_seam():
    whole = forecast(SMOOTH, n_times=2, every_steps=5)
    np.testing.assert_array_equal(whole[SMOOTH.size :], forecast(SMOOTH, every_steps=10))


def test_that_a_state_that_blows_up_fails():
    with pytest.raises(ModelFailed, match="beyond all bounds"):
        forecast(1e9 * SMOOTH, every_steps=50)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"points": ((9, 0),)}, "rows 0 to 8, columns 0 to 5"),
        ({"points": ((1, 1), (1, 1))}, "twice"),
        ({"points": ((1, 1),), "observe_every": 2}, "observe_every"),
        ({"shape": (9, 2)}, "shape"),
        ({"reynolds": 0.0}, "reynolds"),
    ],
)
def test_that_settings_without_sense_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        QuasigeostrophicSettings(**({"shape": SHAPE} | wrong))
