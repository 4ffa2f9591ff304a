"""Laws of the variograms and of the random fields."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.priors.fields import EXACT, TOLERABLE, embed
from daflow.numerics.priors.variograms import MODELS, Variogram

MODEL_OPTIONS = [
    {"model": "exponential"},
    {"model": "gaussian"},
    {"model": "spherical"},
    *({"model": "matern", "nu": nu} for nu in (0.1, 0.5, 1.5, 2.5, 20.0)),
]
each_model = pytest.mark.parametrize(
    "options", MODEL_OPTIONS, ids=[f"{o['model']}{o.get('nu', '')}" for o in MODEL_OPTIONS]
)
lines = np.linspace(0.0, 3.0, 3001)

GRIDS = {
    "line": ((9,), (2.0,), ("x",), (7.0, None, None), 0.0),
    "plane": ((6, 4), (1.0, 2.0), ("x", "y"), (3.0, 5.0, None), 0.0),
    "plane_rotated": ((6, 5), (1.0, 1.0), ("x", "y"), (5.0, 2.0, None), 30.0),
    "rows_and_columns": ((5, 6), (1.5, 1.0), ("y", "x"), (5.0, 2.0, None), -50.0),
    "section": ((3, 7), (0.5, 2.0), ("z", "x"), (9.0, None, 1.0), 0.0),
    "space": ((3, 4, 3), (1.0, 2.0, 1.0), ("z", "y", "x"), (2.0, 4.0, 2.0), 20.0),
    "one_layer": ((1, 4, 3), (1.0, 2.0, 1.0), ("z", "y", "x"), (2.0, 4.0, 2.0), 20.0),
}
each_grid = pytest.mark.parametrize(
    ("shape", "spacing", "axes", "ranges", "angle"), GRIDS.values(), ids=GRIDS
)


def at(variogram, distances):
    return variogram.correlation([distances, None, None])


def covariance_of(spectrum):
    """The exact covariance of the samples: a field is linear in its normals."""
    columns = spectrum.sample(np.eye(spectrum.n_normals)).reshape(spectrum.n_normals, -1)
    return columns.T @ columns


def expected_covariance(shape, spacing, axes, variogram):
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    places = cells.reshape(-1, len(shape)) * np.array(spacing)
    lags = [None, None, None]
    for dimension, axis in enumerate(axes):
        lags["xyz".index(axis)] = places[:, None, dimension] - places[None, :, dimension]
    return variogram.correlation(lags)


@each_model
def test_that_the_correlation_is_1_at_lag_0_and_never_rises(options):
    rho = at(Variogram(ranges=(1.0, None, None), **options), lines)
    assert rho[0] == 1.0
    assert np.diff(rho).max() <= 1e-13
    assert rho.min() >= 0.0


@each_model
@given(length=st.floats(1e-3, 1e6))
@settings(max_examples=20)
def test_that_the_correlation_at_the_range_is_what_the_range_means(options, length):
    expected = 0.0 if options["model"] == "spherical" else 0.05
    variogram = Variogram(ranges=(length, None, None), **options)
    assert at(variogram, np.array([length]))[0] == pytest.approx(expected, abs=1e-12)


@each_model
def test_that_the_correlation_is_finite_at_any_distance(options):
    distances = np.array([0.0, 5e-324, 1e-300, 1e-30, 1e-9, 1.0, 1e3, 1e9, 1e150])
    rho = at(Variogram(ranges=(1.0, None, None), **options), distances)
    assert np.isfinite(rho).all()
    assert rho[1] == pytest.approx(1.0)
    assert rho[-1] == 0.0


def test_that_matern_spans_from_exponential_to_gaussian():
    exponential, gaussian = (
        at(Variogram(model, (1.0, None, None)), lines) for model in ("exponential", "gaussian")
    )
    half = at(Variogram("matern", (1.0, None, None), nu=0.5), lines)
    np.testing.assert_allclose(half, exponential, atol=1e-12)
    smooth = at(Variogram("matern", (1.0, None, None), nu=20.0), lines)
    assert np.abs(smooth - gaussian).max() < 0.02


@given(x=st.floats(-9, 9), y=st.floats(-9, 9), angle=st.floats(-360, 360))
def test_that_a_lag_and_its_opposite_correlate_alike(x, y, angle):
    variogram = Variogram("exponential", (5.0, 2.0, None), angle=angle)
    there, back = (variogram.correlation([s * np.array(x), s * np.array(y), None]) for s in (1, -1))
    assert there == back


def test_that_the_angle_turns_from_x_counter_clockwise():
    variogram = Variogram("spherical", (10.0, 1.0, None), angle=30.0)
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    along, across = (variogram.correlation([np.array(x), np.array(y), None]) for x, y in ((c, s), (-s, c)))
    assert along == pytest.approx(1.0 - 0.15 + 0.0005)
    assert across == pytest.approx(0.0, abs=1e-12)


@given(x=st.floats(0.1, 9.0), y=st.floats(0.1, 9.0))
def test_that_the_extent_is_the_ranges_and_turns_with_them(x, y):
    plain, turned = (Variogram("spherical", (x, y, None), angle=angle).extent() for angle in (0.0, 90.0))
    assert plain == (x, y, 0.0)
    assert turned == pytest.approx((y, x, 0.0))


@each_model
@each_grid
def test_that_the_samples_have_the_variograms_covariance(options, shape, spacing, axes, ranges, angle):
    variogram = Variogram(ranges=ranges, angle=angle, **options)
    spectrum = embed(shape, spacing, variogram, axes)
    expected = expected_covariance(shape, spacing, axes, variogram)
    if spectrum.n_normals <= 2500:
        np.testing.assert_allclose(covariance_of(spectrum), expected, atol=1e-12 + 2 * spectrum.cut)
    implied = spectrum.correlation()[tuple(slice(0, n) for n in shape)].ravel()
    np.testing.assert_allclose(implied, expected[0], atol=1e-12 + 2 * spectrum.cut)
    assert spectrum.cut <= TOLERABLE


@each_grid
def test_that_the_variance_is_std_squared(shape, spacing, axes, ranges, angle):
    spectrum = embed(shape, spacing, Variogram("gaussian", ranges, angle=angle), axes)
    assert spectrum.correlation().ravel()[0] == pytest.approx(1.0, abs=1e-13)
    z = np.random.default_rng(1).standard_normal(spectrum.n_normals)
    plain = spectrum.sample(z)
    np.testing.assert_allclose(spectrum.sample(z, mean=4.0, std=2.5), 4.0 + 2.5 * plain, rtol=1e-13)
    trend, width = np.arange(plain.size).reshape(shape), np.full(shape, 0.5)
    np.testing.assert_allclose(spectrum.sample(z, mean=trend, std=width), trend + 0.5 * plain, rtol=1e-13)
    np.testing.assert_array_equal(spectrum.sample(z, mean=trend, std=0.0), trend)


def test_that_turning_the_axes_turns_the_field():
    variogram = Variogram("exponential", (6.0, 2.0, None), angle=25.0)
    upright = embed((7, 5), (1.0, 2.0), variogram, ("x", "y"))
    turned = embed((5, 7), (2.0, 1.0), variogram, ("y", "x"))
    z = np.random.default_rng(1).standard_normal(upright.torus)
    field, other = upright.sample(z.ravel()), turned.sample(z.T.ravel())
    np.testing.assert_allclose(other, field.T, rtol=0, atol=1e-12)


def test_that_swapped_ranges_swap_the_axes():
    long_x = embed((7, 7), (1.0, 1.0), Variogram("spherical", (6.0, 2.0, None)))
    long_y = embed((7, 7), (1.0, 1.0), Variogram("spherical", (2.0, 6.0, None)))
    np.testing.assert_allclose(long_x.correlation(), long_y.correlation().T, rtol=0, atol=1e-13)


def test_that_a_field_does_not_depend_on_the_others():
    spectrum = embed((8, 6), (1.0, 1.0), Variogram("exponential", (4.0, 4.0, None)))
    z = np.random.default_rng(1).standard_normal((3, spectrum.n_normals))
    together = spectrum.sample(z)
    assert together.shape == (3, 8, 6)
    for field, normals in zip(together, z, strict=True):
        np.testing.assert_array_equal(spectrum.sample(normals), field)


def test_that_an_embedding_made_again_gives_the_same_bits():
    z = np.random.default_rng(1).standard_normal(63)
    first, second = (embed((5, 4), (1.0, 1.0), Variogram("spherical", (2.0, 2.0, None))) for _ in range(2))
    np.testing.assert_array_equal(first.sample(z), second.sample(z))


def test_that_the_torus_grows_until_nothing_must_be_cut():
    small = embed((20, 20), (1.0, 1.0), Variogram("gaussian", (5.0, 5.0, None)))
    wide = embed((20, 20), (1.0, 1.0), Variogram("gaussian", (35.0, 35.0, None)))
    assert wide.n_normals > small.n_normals
    assert wide.cut <= EXACT


def test_that_what_is_cut_is_stated_and_the_variance_kept():
    spectrum = embed((20, 20), (1.0, 1.0), Variogram("gaussian", (14.0, 14.0, None)), max_points=2100)
    assert EXACT < spectrum.cut <= TOLERABLE
    assert spectrum.correlation()[0, 0] == pytest.approx(1.0, abs=1e-13)


@pytest.mark.parametrize(
    ("length", "max_points", "words"), [(100.0, 2100, "would be cut"), (5.0, 100, "too large")]
)
def test_that_what_cannot_be_embedded_is_refused_with_a_cure(length, max_points, words):
    variogram = Variogram("gaussian", (length, length, None))
    with pytest.raises(DataError, match=rf"{words}(.|\n)*shorten the ranges"):
        embed((20, 20), (1.0, 1.0), variogram, max_points=max_points)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "gausian"}, "gaussian"),
        ({"ranges": (1.0, 1.0)}, "three finite"),
        ({"ranges": (None, None, None)}, "three finite"),
        ({"ranges": (1.0, 0.0, None)}, "three finite"),
        ({"ranges": (1.0, float("inf"), None)}, "three finite"),
        ({"angle": float("nan")}, "not finite"),
        ({"ranges": (1.0, None, 1.0), "angle": 5.0}, "lacks x or y"),
        ({"nu": 1.0}, "no smoothness"),
        ({"model": "matern"}, "smoothness"),
        ({"model": "matern", "nu": 0.0}, "smoothness"),
        ({"model": "matern", "nu": 21.0}, "smoothness"),
    ],
)
def test_that_a_variogram_that_cannot_be_honoured_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Variogram(**({"model": "gaussian", "ranges": (1.0, 1.0, None)} | options))


@pytest.mark.parametrize(
    ("shape", "spacing", "axes", "words"),
    [
        ((), (), None, "grid"),
        ((5, 0), (1.0, 1.0), None, "grid"),
        ((2, 2, 2, 2), (1.0,) * 4, None, "grid"),
        ((5, 5), (1.0,), None, "spacing"),
        ((5, 5), (1.0, 0.0), None, "spacing"),
        ((5, 5), (1.0, 1.0), ("x", "x"), "axes"),
        ((5, 5), (1.0, 1.0), ("x", "w"), "axes"),
        ((5, 5), (1.0, 1.0), ("x", "z"), "along y"),
        ((5, 5, 5), (1.0, 1.0, 1.0), None, "along z"),
    ],
)
def test_that_a_grid_that_does_not_fit_is_refused(shape, spacing, axes, words):
    with pytest.raises(ConfigError, match=words):
        embed(shape, spacing, Variogram("exponential", (1.0, 1.0, None)), axes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"normals": np.zeros(62)}, "do not fit"),
        ({"normals": np.zeros((1, 1, 63))}, "do not fit"),
        ({"normals": np.full(63, np.nan)}, "not finite"),
        ({"std": -1.0}, "negative"),
        ({"std": np.nan}, "std is not finite"),
        ({"mean": np.zeros(3)}, "mean does not fit"),
    ],
)
def test_that_what_does_not_fit_a_field_is_refused(change, words):
    spectrum = embed((5, 4), (1.0, 1.0), Variogram("spherical", (2.0, 2.0, None)))
    with pytest.raises(DataError, match=words):
        spectrum.sample(**({"normals": np.zeros(63)} | change))


def test_that_every_model_has_its_name():
    assert set(MODELS) == {"exponential", "gaussian", "spherical", "matern"}
