import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.numerics.localization import gathering
from daflow.numerics.localization.gathering import CompiledGathering, PlainGathering, fastest_gathering


@st.composite
def slices(draw):
    """Return a slab, whose rows may lie apart, and points of it in any order."""
    n_members, n = draw(st.integers(1, 7)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    wide = random.standard_normal((n_members, n + draw(st.integers(0, 3)))).astype(dtype)
    points = random.permutation(n)[: draw(st.integers(0, n))].astype(np.int64)
    return wide, n, points


@given(slices())
def test_that_both_ways_give_the_same_bits_and_touch_nothing_else(given_slice):
    wide, n, points = given_slice
    expected = wide.copy()
    departures = wide[:, points].astype(np.float64) - wide[0, points]
    expected[:, points] += departures * 0.7
    for way in (PlainGathering, CompiledGathering):
        changed = wide.copy()
        gathered = way(changed[:, :n], 40)
        block = gathered.departures(points)
        assert block.tobytes() == departures.tobytes()
        block *= 0.7
        gathered.add(points, block)
        assert changed.tobytes() == expected.tobytes()


def test_that_numba_is_imported_for_what_is_large_only(monkeypatch):
    assert fastest_gathering(1) is CompiledGathering  # it is there already
    monkeypatch.delitem(sys.modules, "numba")
    assert fastest_gathering(gathering.WORTH_COMPILING) is CompiledGathering
    assert fastest_gathering(gathering.WORTH_COMPILING - 1) is PlainGathering
    monkeypatch.setattr(gathering, "find_spec", lambda name: None)
    assert fastest_gathering(gathering.WORTH_COMPILING) is PlainGathering


@pytest.mark.parametrize("way", [PlainGathering, CompiledGathering])
def test_that_memory_serves_one_batch_after_the_other(way):
    slab = np.arange(12.0).reshape(2, 6)
    gathered = way(slab, 3)
    first = gathered.departures(np.array([0, 1, 2]))
    assert np.shares_memory(first, gathered.departures(np.array([5])))
