"""Laws of the tapers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from daflow.numerics.localization.tapers import EDGE, TAPERS, beta, gaspari_cohn, operational

GOLDEN = Path(__file__).parents[2] / "golden" / "tapers.npz"
COMPACT = sorted(name for name, family in TAPERS.items() if np.isfinite(family.reach))
SMOOTH = ["gaspari_cohn", "gaussian", "cubic", "beta", "operational"]
distances = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30).map(np.array)


@pytest.mark.parametrize(
    ("name", "function"), [("gc", gaspari_cohn), ("popov", operational), ("beta3", beta)]
)
def test_that_the_reference_values_are_met(name, function):
    with np.load(GOLDEN) as golden:
        expected = golden[name]
        got = function(golden["z"])
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", TAPERS)
@given(z=distances)
def test_that_the_weight_lies_in_0_1(name, z):
    weight = TAPERS[name].weight(z)
    assert np.all((weight >= 0.0) & (weight <= 1.0))


@pytest.mark.parametrize("name", TAPERS)
def test_that_the_weight_is_1_at_distance_0(name):
    assert TAPERS[name].weight(np.zeros(1))[0] == 1.0


@pytest.mark.parametrize("name", TAPERS)
def test_that_the_weight_never_rises_with_distance(name):
    weight = TAPERS[name].weight(np.linspace(0.0, 3.0, 30001))
    assert np.diff(weight).max() <= 1e-15


@pytest.mark.parametrize("name", COMPACT)
@given(beyond=st.floats(1e-7, 1e6))
def test_that_the_weight_is_0_beyond_the_reach(name, beyond):
    family = TAPERS[name]
    assert family.weight(np.array([family.reach * (1.0 + beyond)]))[0] == 0.0


@pytest.mark.parametrize("name", COMPACT)
def test_that_the_weight_is_not_0_just_inside_the_reach(name):
    family = TAPERS[name]
    assert family.weight(np.array([0.99 * family.reach]))[0] > 0.0


@pytest.mark.parametrize("name", SMOOTH)
def test_that_the_slope_is_continuous(name):
    z = np.linspace(0.0, 3.0, 30001)
    slope = np.diff(TAPERS[name].weight(z)) / np.diff(z)
    bend = np.abs(np.diff(slope))  # a kink would leave a jump that does not shrink with the spacing
    assert bend.max() < 0.02
    assert abs(slope[0]) < 1e-3


@pytest.mark.parametrize("name", ["gaspari_cohn", "exponential", "gaussian"])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
def test_that_the_matrix_is_positive_semidefinite(name, n_axes):
    rng = np.random.default_rng(5)
    for scale in (0.5, 2.0, 8.0):
        points = rng.uniform(0.0, scale, (60, n_axes))
        weights = TAPERS[name].weight(cdist(points, points))
        assert np.linalg.eigvalsh(weights).min() >= -1e-12


def test_that_a_step_includes_its_edge_up_to_rounding():
    weight = TAPERS["step"].weight(np.array([1.0, np.nextafter(1.0, 2.0), 1.0 + 10 * EDGE]))
    np.testing.assert_array_equal(weight, [1.0, 1.0, 0.0])


@given(exponent=st.floats(0.1, 1e6), part=st.integers(0, 1024))
def test_that_beta_is_finite_and_symmetric_about_half_a_length(exponent, part):
    z = part / 1024.0  # so that 1 - z is exact
    weight, mirrored = beta(np.array([z, 1.0 - z]), exponent)
    assert 0.0 <= weight <= 1.0
    assert weight + mirrored == pytest.approx(1.0, abs=1e-12)


def test_that_beta_is_a_half_at_half_a_length():
    assert beta(np.array([0.5]), 7.0)[0] == 0.5
