"""Mean and spread of slabs, block by block."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.diagnostics import moments
from daflow.numerics.diagnostics.misfit import spread
from daflow.numerics.diagnostics.moments import moments_of

SHIFTS = st.sampled_from([0.0, 1.0, -9.0, 11.0, 1e4, -1e8])


@settings(max_examples=60)
@given(st.integers(2, 9), st.integers(0, 40), SHIFTS, st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_that_the_moments_are_those_of_each_number(n_members, n, shift, block, seed):
    ensemble = np.random.default_rng(seed).standard_normal((n_members, n + 3)) + shift
    ensemble[:, n // 2 : n // 2 + 3] = shift
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "SPREAD_BLOCK", block)
        for view in (ensemble, ensemble[:, 2:]):
            found = moments_of(view)
            scale = abs(shift) + 1.0
            np.testing.assert_allclose(found.mean, view.mean(axis=0), rtol=0, atol=1e-15 * 9 * scale)
            np.testing.assert_allclose(found.spread, spread(view), rtol=1e-12, atol=1e-15 * 9 * scale)
            assert found.total_spread == pytest.approx(spread(view).sum(), rel=1e-12, abs=1e-12)
            single = view.astype(np.float32)
            found, expected = moments_of(single), single.astype(np.float64)
            assert found.total_spread == pytest.approx(spread(expected).sum(), rel=1e-5)
            np.testing.assert_allclose(found.mean, expected.mean(axis=0), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_that_the_total_spread_is_finite_where_the_ensemble_is(bad, dtype):
    ensemble = np.random.default_rng(0).standard_normal((4, 5000)).astype(dtype)
    assert np.isfinite(moments_of(ensemble).total_spread)
    large = np.array([[3e38], [-3e38]], dtype)
    assert moments_of(large).total_spread == pytest.approx(3e38 * 2**0.5, rel=1e-6)
    ensemble[2, 4000] = bad
    assert not np.isfinite(moments_of(ensemble).total_spread)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_that_nothing_of_the_size_of_a_slab_is_made(dtype):
    slab = (
        np.random.default_rng(1).standard_normal((50, 100_000)).astype(dtype) + 100
    )  # every block is centred
    tracemalloc.start()
    moments_of(slab)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows, blocks = 2 * 8 * slab.shape[1], 3 * 8 * 50 * moments.SPREAD_BLOCK
    assert peak < rows + blocks < slab.nbytes / 4 * (8 / slab.itemsize)


def test_that_one_member_has_no_spread():
    with pytest.raises(DataError, match="two members"):
        moments_of(np.ones((1, 3)))
