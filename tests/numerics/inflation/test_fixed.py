from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.inflation import fixed
from daflow.numerics.inflation.fixed import (
    add_draws,
    deviations_of,
    inflate_anomalies,
    mix_anomalies,
    relax_to_deviations,
    widen,
)
from tests.numerics.inflation.plain import inflated, relaxed_to_anomalies, relaxed_to_spread, with_noise

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = {"n8_m5_N6": 1e-8, "n3_m6_N20": 1e-8, "n4_m1_N2": 1e-8, "n40_m40_N10": 1e-8, "n5_m4_N7_ill": 1e-5}
MET = {
    "infl105": lambda slab, _: widen(slab, 1.05),
    "rtpp05": lambda slab, prior: mix_anomalies(slab, prior, 0.5),
    "rtps09": lambda slab, prior: relax_to_deviations(slab, deviations_of(prior), 0.9),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", MET)
def test_that_the_golden_ensembles_are_met(case, way):
    with np.load(GOLDEN / f"filt_{case}.npz") as arrays:
        golden = {key: arrays[key] for key in arrays.files}
    expected, posterior = golden[way].T, golden["etkf"].T.copy()
    MET[way](posterior, golden["X"].T)
    assert np.abs(posterior - expected).max() <= CASES[case] * np.abs(expected).max()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(fixed, "BLOCK_NUMBERS", 1)  # 64 columns


def pair(seed, n=150):
    rng = np.random.default_rng(seed)
    prior = 1e3 + rng.standard_normal((5, n))
    return prior, prior.mean(axis=0) + rng.standard_normal(n) + 0.4 * rng.standard_normal((5, n))


WAYS = {
    "factor": (
        lambda slab, _, number: widen(slab, number),
        lambda posterior, _, number: inflated(posterior, number),
    ),
    "factors": (
        lambda slab, _, number: widen(slab, np.linspace(0, number, slab.shape[1])),
        lambda posterior, _, number: inflated(posterior, np.linspace(0, number, posterior.shape[1])),
    ),
    "spread": (
        lambda slab, prior, number: relax_to_deviations(slab, deviations_of(prior), number),
        lambda posterior, prior, number: relaxed_to_spread(prior, posterior, number),
    ),
    "anomalies": (
        mix_anomalies,
        lambda posterior, prior, number: relaxed_to_anomalies(prior, posterior, number),
    ),
}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 2), st.sampled_from(list(WAYS)), st.booleans())
def test_that_a_slice_changes_as_whole_arrays_do_in_papers_rounded_once(seed, number, way, single):
    prior, posterior = pair(seed)
    if single:
        prior, posterior = prior.astype(np.float32), posterior.astype(np.float32)
    ours, theirs = WAYS[way]
    expected = theirs(posterior.astype(np.float64), prior.astype(np.float64), number)
    ours(posterior, prior, number)
    np.testing.assert_allclose(posterior, expected, rtol=1e-7 if single else 1e-14)


def test_that_draws_are_taken_one_block_after_the_other_and_centred():
    _, slab = pair(1)
    noise = np.random.default_rng(2).standard_normal(slab.shape)
    expected, taken = with_noise(slab, 0.3 * noise), []

    def draw(n):
        taken.append(n)
        return noise[:, sum(taken[:-1]) : sum(taken)].copy()

    add_draws(slab, 0.3, draw)
    np.testing.assert_allclose(slab, expected, rtol=1e-14)
    assert taken == [64, 64, 22]


def test_that_what_is_not_to_change_keeps_its_bits():
    slab = np.where(np.arange(150) % 2, -0.0, np.random.default_rng(3).standard_normal((5, 150)))
    kept = slab.tobytes()
    widen(slab, 1.0)
    widen(slab, np.ones(150))
    mix_anomalies(slab, pair(0)[0], 0.0)
    relax_to_deviations(slab, np.ones(150), 0.0)
    add_draws(slab, 0.0, lambda n: pytest.fail(f"{n} numbers for nothing"))
    assert slab.tobytes() == kept
    zero = np.arange(150) % 2 == 1
    widen(slab, 2.0)
    assert slab[:, zero].tobytes() == np.full((5, 75), -0.0).tobytes()


def test_that_a_number_too_large_for_its_type_is_refused():
    slab = np.array([[-1.0], [1.0]], dtype=np.float32)
    with pytest.raises(DataError, match="float32"):
        widen(slab, 1e39)


def test_that_what_is_not_finite_stays_in_its_column():
    _, slab = pair(4)
    expected = inflated(slab, 1.5)
    slab[2, 7], slab[1, 70] = np.inf, np.nan
    widen(slab, 1.5)
    bad = ~np.isfinite(slab).all(axis=0)
    assert np.flatnonzero(bad).tolist() == [7, 70]
    np.testing.assert_allclose(slab[:, ~bad], expected[:, ~bad])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0, 2))
def test_that_a_new_ensemble_has_its_covariance_multiplied_by_the_factors_of_both_numbers(seed, number):
    posterior = pair(seed, 4)[1]
    factors = number * np.array([1.0, 0.5, 2.0, 0.0])
    found = inflate_anomalies(posterior, factors)
    np.testing.assert_allclose(found.mean(axis=0), posterior.mean(axis=0))
    expected = np.cov(posterior.T) * np.outer(factors, factors)
    np.testing.assert_allclose(np.cov(found.T), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(inflate_anomalies(posterior, 1.0), posterior)


def test_that_full_relaxation_gives_the_prior_s_spread_or_anomalies_and_no_spread_stays_none():
    prior, posterior = pair(1)
    posterior[:, 1] = 0.1
    spread, mixed = posterior.copy(), posterior.copy()
    relax_to_deviations(spread, deviations_of(prior), 1.0)
    mix_anomalies(mixed, prior, 1.0)
    assert (spread[:, 1] == 0.1).all()
    others = np.arange(150) != 1
    np.testing.assert_allclose(spread[:, others].std(axis=0), prior[:, others].std(axis=0))
    np.testing.assert_allclose(mixed - mixed.mean(axis=0), prior - prior.mean(axis=0), atol=1e-10)


BAD = {
    "negative factor": lambda x: inflate_anomalies(x, -0.1),
    "factors of another length": lambda x: inflate_anomalies(x, [1.0, 2.0]),
    "one member": lambda x: inflate_anomalies(x[:1], 1.1),
}


@pytest.mark.parametrize("case", BAD)
def test_that_what_cannot_be_used_is_refused(case):
    with pytest.raises(DataError):
        BAD[case](pair(0)[0])
