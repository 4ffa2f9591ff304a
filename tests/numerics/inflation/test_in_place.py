import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.inflation import in_place
from daflow.numerics.inflation.fixed import add_noise, inflate_anomalies, relax_to_anomalies, relax_to_spread
from daflow.numerics.inflation.in_place import (
    add_draws,
    deviations_of,
    mix_anomalies,
    relax_to_deviations,
    widen,
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(in_place, "BLOCK_NUMBERS", 1)  # 64 columns


def pair(seed, n=150):
    rng = np.random.default_rng(seed)
    prior = 1e3 + rng.standard_normal((5, n))
    return prior, prior.mean(axis=0) + rng.standard_normal(n) + 0.4 * rng.standard_normal((5, n))


WAYS = {
    "factor": (
        lambda slab, _, number: widen(slab, number),
        lambda posterior, _, number: inflate_anomalies(posterior, number),
    ),
    "factors": (
        lambda slab, _, number: widen(slab, np.linspace(0, number, slab.shape[1])),
        lambda posterior, _, number: inflate_anomalies(posterior, np.linspace(0, number, posterior.shape[1])),
    ),
    "spread": (
        lambda slab, prior, number: relax_to_deviations(slab, deviations_of(prior), number),
        lambda posterior, prior, number: relax_to_spread(prior, posterior, number),
    ),
    "anomalies": (
        mix_anomalies,
        lambda posterior, prior, number: relax_to_anomalies(prior, posterior, number),
    ),
}


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 2), st.sampled_from(list(WAYS)), st.booleans())
def test_that_in_place_is_what_the_function_of_arrays_gives_rounded_once(seed, number, way, single):
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
    expected, taken = add_noise(slab, 0.3 * noise), []

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
    expected = inflate_anomalies(slab, 1.5)
    slab[2, 7], slab[1, 70] = np.inf, np.nan
    widen(slab, 1.5)
    bad = ~np.isfinite(slab).all(axis=0)
    assert np.flatnonzero(bad).tolist() == [7, 70]
    np.testing.assert_allclose(slab[:, ~bad], expected[:, ~bad])
