import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import DataError
from daflow.numerics.arrays.inverse_root import shifted_inverses


@settings(max_examples=50)
@given(st.one_of(st.just(0.0), st.floats(-12.0, 14.5).map(lambda power: 10.0**power)))
def test_that_the_sum_of_shifted_inverses_equals_the_closed_form(largest):
    shifts, terms = shifted_inverses(largest)
    x = largest * np.append(0.0, np.geomspace(1e-14, 1.0, 300))
    exact = -1.0 / (np.sqrt(1.0 + x) * (1.0 + np.sqrt(1.0 + x)))
    total = (terms / (shifts + x[:, np.newaxis])).sum(axis=1)
    np.testing.assert_allclose(total, exact, rtol=0, atol=1e-14)
    well = x < 1e10
    np.testing.assert_allclose(total[well], exact[well], rtol=2e-14)


def test_that_terms_grow_like_the_logarithm():
    assert [len(shifted_inverses(largest)[0]) for largest in (10.0, 1e6, 1e12)] == [11, 35, 63]


@pytest.mark.parametrize("largest", [1e15, np.inf, np.nan])
def test_that_what_hides_the_observation_error_is_refused(largest):
    with pytest.raises(DataError, match="units of observation errors"):
        shifted_inverses(largest)
