from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError, DataError
from daflow.numerics.localization.index_tapers import (
    delta_taper,
    delta_weights,
    dropout_taper,
    dropout_weights,
    radial_taper,
    radial_weights,
)

GOLDEN = Path(__file__).parents[2] / "golden"
any_case = pytest.mark.parametrize(
    "case", ["ekp_p6_d5_J20", "ekp_p4_d9_J5", "ekp_p10_d10_J8", "ekp_p1_d1_J10"]
)
shapes = given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))


def load(case):
    with np.load(GOLDEN / f"{case}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def sequence(numbers):
    return lambda places: numbers[places]


@any_case
@pytest.mark.parametrize("name", ["delta", "rbf1", "rbf3"])
def test_that_tapered_covariances_meet_the_golden_numbers(case, name):
    golden = load(case)
    p, d = int(golden["p"]), int(golden["d"])
    taper = delta_taper((0, p), d) if name == "delta" else radial_taper((0, p), d, float(name[3:]))
    np.testing.assert_allclose(taper * golden["C"][:p, p:], golden[name][:p, p:], atol=1e-10)


@any_case
def test_that_dropout_meets_the_golden_kernel(case):
    golden = load(case)
    p, d = int(golden["p"]), int(golden["d"])
    # The draws are 1 where a pair is kept.
    taper = dropout_taper((0, p), (p, d), 0.5, sequence(1.0 - golden["bern_draws"]))
    np.testing.assert_array_equal(taper, golden["bern_kernel"])


@settings(max_examples=30)
@shapes
def test_that_rows_of_slices_are_those_of_the_whole(n_state, n_obs, seed):
    rng = np.random.default_rng(seed)
    draws = sequence(rng.uniform(size=200))
    cut = int(rng.integers(n_state + 1))
    for taper in (
        lambda rows: dropout_taper(rows, (n_state, n_obs), 0.5, draws),
        lambda rows: radial_taper(rows, n_obs, 2.0),
        lambda rows: delta_taper(rows, n_obs),
    ):
        np.testing.assert_array_equal(
            np.vstack([taper((0, cut)), taper((cut, n_state))]), taper((0, n_state))
        )


@settings(max_examples=30)
@shapes
def test_that_dropout_keeps_all_or_the_diagonal_at_its_ends_and_is_symmetric_where_square(
    n_state, n_obs, seed
):
    draws, shape = sequence(np.random.default_rng(seed).uniform(size=200)), (n_state, n_obs)
    np.testing.assert_array_equal(dropout_taper((0, n_state), shape, 1.0, draws), np.ones(shape))
    np.testing.assert_array_equal(
        dropout_taper((0, n_state), shape, 0.0, draws), delta_taper((0, n_state), n_obs)
    )
    square = dropout_taper((0, n_obs), (n_obs, n_obs), 0.5, draws)
    np.testing.assert_array_equal(square, square.T)


def test_that_dropout_keeps_as_many_as_it_should():
    draws = sequence(np.random.default_rng(0).uniform(size=20_000))
    taper = dropout_taper((0, 200), (200, 90), 0.3, draws)
    below = taper[np.tril_indices(200, -1, 90)]
    assert below.mean() == pytest.approx(0.3, abs=0.02)


def test_that_radial_tapers_go_from_delta_to_ones():
    np.testing.assert_allclose(radial_taper((0, 4), 5, 1e-3), delta_taper((0, 4), 5), atol=1e-200)
    np.testing.assert_allclose(radial_taper((0, 4), 5, 1e6), np.ones((4, 5)))


BAD = {
    "length": lambda: radial_taper((0, 2), 2, 0.0),
    "order": lambda: delta_taper((3, 2), 2),
    "rows": lambda: dropout_taper((0, 3), (2, 2), 0.5, sequence(np.zeros(9))),
    "draws": lambda: dropout_taper((0, 2), (2, 2), 0.5, lambda places: np.zeros(0)),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case]()


def test_that_a_probability_beyond_one_is_refused():
    with pytest.raises(ConfigError, match="probability"):
        dropout_taper((0, 2), (2, 2), 1.5, sequence(np.zeros(9)))


@settings(max_examples=30)
@shapes
def test_that_weights_of_any_pairs_are_those_of_the_taper_of_all(n_state, n_obs, seed):
    rng = np.random.default_rng(seed)
    shape, draws = (n_state, n_obs), sequence(rng.uniform(size=200))
    numbers, obs = rng.permutation(n_state)[: n_state // 2 + 1], rng.permutation(n_obs)[: n_obs // 2 + 1]
    some = np.ix_(numbers, obs)
    found = dropout_weights(numbers, obs, shape, 0.5, draws)
    np.testing.assert_array_equal(found, dropout_taper((0, n_state), shape, 0.5, draws)[some])
    np.testing.assert_array_equal(delta_weights(numbers, obs), delta_taper((0, n_state), n_obs)[some])
    radial = radial_taper((0, n_state), n_obs, 2.0)
    np.testing.assert_array_equal(radial_weights(numbers, obs, 2.0), radial[some])
