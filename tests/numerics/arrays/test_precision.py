import numpy as np
import pytest

from daflow.errors import DataError
from daflow.numerics.arrays.precision import store_into


def test_that_what_is_too_small_or_not_finite_is_stored_as_the_type_has_it():
    out = np.empty(3, "float32")
    store_into(out, np.array([1e-300, np.inf, np.nan]))
    np.testing.assert_array_equal(out, [0, np.inf, np.nan])


def test_that_a_finite_number_too_large_for_the_type_is_refused():
    with pytest.raises(DataError, match="float32") as error:
        store_into(np.empty(2, "float32"), np.array([np.inf, 1e200]))
    assert error.value.got == "1e+200"
