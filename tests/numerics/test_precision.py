import numpy as np
import pytest

from daflow.errors import DataError
from daflow.numerics.precision import store_into, stored_as


def test_that_numbers_are_stored_without_a_copy_where_nothing_changes():
    values = np.arange(3.0)
    assert np.shares_memory(stored_as("float64", values), values)
    np.testing.assert_array_equal(
        stored_as("float32", np.array([1e-300, np.inf, np.nan])), [0, np.inf, np.nan]
    )


@pytest.mark.parametrize(
    "store",
    [lambda values: stored_as("float32", values), lambda values: store_into(np.empty(2, "float32"), values)],
)
def test_that_a_finite_number_too_large_for_the_type_is_refused(store):
    with pytest.raises(DataError, match="float32") as error:
        store(np.array([np.inf, 1e200]))
    assert error.value.got == "1e+200"
