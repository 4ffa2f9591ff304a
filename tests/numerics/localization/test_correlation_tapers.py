from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import CombinationError, ConfigError, DataError
from daflow.numerics.localization.correlation_tapers import (
    ShuffledSquares,
    correlations,
    exponential_weights,
    shuffled_noise,
    shuffled_squares,
    tempered_weights,
    theoretical_noise,
    threshold_weights,
)

with np.load(Path(__file__).parents[2] / "golden" / "tapers.npz") as _arrays:
    GOLDEN = {key: _arrays[key] for key in _arrays.files}
ROW = GOLDEN["corr"][np.newaxis]
FAMILIES = {
    "threshold": lambda r: threshold_weights(r, 0.4),
    "tempered": lambda r: tempered_weights(r, 0.4),
    "exponential": exponential_weights,
}
any_family = pytest.mark.parametrize("family", FAMILIES)


def test_that_tempered_and_exponential_weights_meet_the_golden_numbers():
    tempered = tempered_weights(ROW, 3 / 20)[0]
    np.testing.assert_allclose(tempered, GOLDEN["gc_tempering_N20"], atol=1e-12)
    # There as the factor on the standard deviation of the observation error.
    np.testing.assert_allclose(exponential_weights(ROW)[0] ** -0.5, GOLDEN["ies_exp"], rtol=1e-12)


def test_that_the_theoretical_noise_meets_the_golden_numbers_or_is_refused():
    for n_members, expected in zip(GOLDEN["N"], GOLDEN["luo"], strict=True):
        if n_members > 9:
            np.testing.assert_allclose(theoretical_noise(int(n_members)), expected, rtol=1e-12)
        else:
            with pytest.raises(CombinationError, match="10 or more"):
                theoretical_noise(int(n_members))


@any_family
def test_that_weights_lie_in_0_to_1_ignore_the_sign_and_never_rise_as_a_correlation_weakens(family):
    sizes = np.linspace(0, 1, 501)[np.newaxis]
    weights = FAMILIES[family](sizes)[0]
    assert weights[-1] == 1.0
    assert (weights >= 0).all()
    assert (np.diff(weights) >= -1e-15).all()
    np.testing.assert_array_equal(FAMILIES[family](-sizes)[0], weights)


def test_that_thresholds_give_zero_or_one_by_observation():
    found = threshold_weights([[0.5, -0.5], [-0.9, 0.2]], [0.4, 0.6])
    np.testing.assert_array_equal(found, [[1, 0], [1, 0]])


def test_that_a_noise_of_one_lets_only_perfect_correlations_through():
    np.testing.assert_array_equal(tempered_weights([[1.0, 0.999, -1.0]], 1.0), [[1, 0, 1]])


def test_that_weak_correlations_keep_one_over_the_square_of_the_factor():
    np.testing.assert_allclose(exponential_weights([[0.0, 0.29, 0.66]], factor=4.0), [[1 / 16, 1 / 16, 1]])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_that_correlations_are_those_of_numpy_in_any_units_and_by_slices(seed, n_members):
    rng = np.random.default_rng(seed)
    state, predicted = rng.standard_normal((n_members, 6)), rng.standard_normal((n_members, 4))
    found = correlations(state, predicted)
    np.testing.assert_allclose(found, np.corrcoef(state.T, predicted.T)[:6, 6:], atol=1e-12)
    np.testing.assert_allclose(correlations(1e6 + 1e-3 * state, 7 - predicted), -found, atol=1e-6)
    np.testing.assert_allclose(correlations(state[:, 2:], predicted), found[2:], rtol=1e-12)


def test_that_numbers_on_which_members_agree_are_not_correlated():
    state = np.random.default_rng(0).standard_normal((5, 3))
    state[:, 1] = 0.1
    assert (correlations(state, state)[1] == 0).all()
    assert (correlations(state, state)[:, 1] == 0).all()


def test_that_shuffled_squares_add_up_over_slices():
    rng = np.random.default_rng(1)
    state, predicted, order = (
        rng.standard_normal((8, 20)),
        rng.standard_normal((8, 3)),
        np.roll(np.arange(8), 3),
    )
    whole = shuffled_squares(state, predicted, order)
    parts = shuffled_squares(state[:, :7], predicted, order) + shuffled_squares(
        state[:, 7:], predicted, order
    )
    assert parts.n_state == whole.n_state
    np.testing.assert_allclose(parts.squares, whole.squares, rtol=1e-12)


def test_that_shuffled_noise_is_what_chance_rarely_exceeds():
    rng = np.random.default_rng(2)
    predicted = rng.standard_normal((50, 4))
    state = rng.standard_normal((50, 2000))
    state[:, :100] += 2 * predicted[:, [0]]
    noise = shuffled_noise(shuffled_squares(state, predicted, np.roll(np.arange(50), 7)))
    weights = threshold_weights(correlations(state, predicted), noise)
    assert weights[:100, 0].all()
    assert weights[100:].mean() < 2e-3
    assert shuffled_noise(ShuffledSquares(np.ones(2), 2)).tolist() == [pytest.approx(np.sqrt(np.log(2)))] * 2


BAD = {
    "order": lambda: shuffled_squares(np.ones((3, 2)), np.ones((3, 1)), [1, 0, 2]),
    "short order": lambda: shuffled_squares(np.ones((3, 2)), np.ones((3, 1)), [1, 0]),
    "beyond one": lambda: threshold_weights([[1.5]], 0.1),
    "noise": lambda: threshold_weights([[0.5]], 1.1),
    "noises": lambda: tempered_weights([[0.5, 0.5]], [0.1, 0.1, 0.1]),
    "members": lambda: correlations(np.ones((3, 2)), np.ones((4, 2))),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case]()


@pytest.mark.parametrize("setting", [{"onset": 0.8}, {"end": 1.1}, {"factor": 0.5}])
def test_that_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError, match="onset"):
        exponential_weights([[0.5]], **setting)
