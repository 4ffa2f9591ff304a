from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.filters.ensemble_transform import apply_transform
from daflow.numerics.filters.filter_transforms import etkf
from daflow.numerics.inflation.fixed import (
    add_noise,
    inflate_anomalies,
    inflate_variance,
    relax_to_anomalies,
    relax_to_spread,
    relaxed_transform,
)

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = {"n8_m5_N6": 1e-8, "n3_m6_N20": 1e-8, "n4_m1_N2": 1e-8, "n40_m40_N10": 1e-8, "n5_m4_N7_ill": 1e-5}
drawn = given(st.integers(0, 2**32 - 1), st.floats(0, 2))

WAYS = {
    "infl105": lambda prior, posterior: inflate_anomalies(posterior, 1.05),
    "rtpp05": lambda prior, posterior: relax_to_anomalies(prior, posterior, 0.5),
    "rtps09": lambda prior, posterior: relax_to_spread(prior, posterior, 0.9),
}


def pair(seed):
    rng = np.random.default_rng(seed)
    prior = 2 + 3 * rng.standard_normal((5, 4))
    return prior, prior.mean(axis=0) + rng.standard_normal(4) + 0.4 * rng.standard_normal((5, 4))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_that_the_golden_ensembles_are_met(case, way):
    with np.load(GOLDEN / f"filt_{case}.npz") as arrays:
        golden = {key: arrays[key] for key in arrays.files}
    expected = golden[way].T
    posterior = WAYS[way](golden["X"].T, golden["etkf"].T)
    assert np.abs(posterior - expected).max() <= CASES[case] * np.abs(expected).max()


@settings(max_examples=30)
@drawn
def test_that_every_inflation_keeps_the_mean(seed, number):
    prior, posterior = pair(seed)
    for inflated in (
        inflate_anomalies(posterior, number),
        inflate_variance(posterior, number),
        relax_to_spread(prior, posterior, number),
        relax_to_anomalies(prior, posterior, number),
        add_noise(posterior, number * prior),
    ):
        close(inflated.mean(axis=0), posterior.mean(axis=0))


@settings(max_examples=30)
@drawn
def test_that_the_covariance_is_multiplied_by_the_factors_of_both_numbers(seed, number):
    _, posterior = pair(seed)
    factors = number * np.array([1.0, 0.5, 2.0, 0.0])
    expected = np.cov(posterior.T) * np.outer(factors, factors)
    close(np.cov(inflate_anomalies(posterior, factors).T), expected)
    close(np.cov(inflate_variance(posterior, factors**2).T), expected)


def test_that_one_and_zero_are_nothing_to_the_bit():
    prior, posterior = pair(0)
    for same in (
        inflate_anomalies(posterior, 1.0),
        inflate_variance(posterior, 1.0),
        relax_to_spread(prior, posterior, 0.0),
        relax_to_anomalies(prior, posterior, 0.0),
        add_noise(posterior, np.full((5, 4), 7.0)),
    ):
        np.testing.assert_array_equal(same, posterior)


def test_that_full_relaxation_gives_the_prior_s_spread_or_anomalies():
    prior, posterior = pair(1)
    close(relax_to_spread(prior, posterior, 1.0).std(axis=0), prior.std(axis=0))
    relaxed = relax_to_anomalies(prior, posterior, 1.0)
    close(relaxed - relaxed.mean(axis=0), prior - prior.mean(axis=0))


def test_that_a_number_without_posterior_spread_stays():
    prior, posterior = pair(2)
    posterior[:, 1] = 0.1
    np.testing.assert_array_equal(relax_to_spread(prior, posterior, 1.5)[:, 1], posterior[:, 1])


@settings(max_examples=30)
@drawn
def test_that_a_relaxed_transform_does_what_relaxing_afterwards_does(seed, number):
    prior, _ = pair(seed)
    transform = etkf(prior[:, :2], [1.0, 2.0], [1.0, 0.5])
    expected = relax_to_anomalies(prior, apply_transform(transform, prior), number)
    close(apply_transform(relaxed_transform(transform, number), prior), expected)


BAD = {
    "negative factor": lambda x: inflate_anomalies(x, -0.1),
    "negative variance": lambda x: inflate_variance(x, [1.0, 1.0, 1.0, -1.0]),
    "factors of another length": lambda x: inflate_anomalies(x, [1.0, 2.0]),
    "negative strength": lambda x: relax_to_spread(x, x, -0.1),
    "other members": lambda x: relax_to_anomalies(x, x[:-1], 0.1),
    "one member": lambda x: inflate_anomalies(x[:1], 1.1),
    "noise": lambda x: add_noise(x, x[:, :2]),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case](pair(0)[0])
