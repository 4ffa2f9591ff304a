from contextlib import nullcontext

import numpy as np

from daflow.storage.memory import MemoryStore
from tests.contracts.store_contract import SMALL, StoreContract, write_slice


class TestMemoryStore(StoreContract):
    def store(self, layout):
        return nullcontext(MemoryStore(layout))


def test_that_a_whole_step_is_nan_where_nothing_was_written():
    store = MemoryStore(SMALL)
    write_slice(store, 1, SMALL.slice(2), [3], np.ones((1, 3)))
    store.write_predicted(1, 3, np.ones(3))
    expected = np.full((4, 11), np.nan)
    expected[3, 8:] = 1
    np.testing.assert_array_equal(store.parameters(1), expected)
    np.testing.assert_array_equal(np.isnan(store.predicted(1)).all(axis=1), [True, True, True, False])
    assert np.isnan(store.parameters(0)).all()
