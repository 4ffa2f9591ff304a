import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daflow.storage.checksums import PIECE, Checksum


def test_that_it_is_the_crc_32c_of_the_bytes():
    assert Checksum().over(np.frombuffer(b"123456789", np.uint8)) == "e3069283"
    assert Checksum().over(np.empty((0, 3))) == "00000000"


@given(st.lists(st.integers(0, 3 * PIECE // 8), max_size=4))
def test_that_it_knows_no_cuts(cuts):
    numbers = np.arange(3.0 * PIECE // 8)
    mark = Checksum()
    assert b"".join(part.tobytes() for part in mark.of(np.split(numbers, sorted(cuts)))) == numbers.tobytes()
    assert mark.digest == Checksum().over(numbers)


@given(st.integers(0, 3 * PIECE // 8 - 2))
def test_that_it_knows_the_order(place):
    numbers = np.arange(3.0 * PIECE // 8)
    swapped = numbers.copy()
    swapped[[place, place + 1]] = swapped[[place + 1, place]]
    assert Checksum().over(swapped) != Checksum().over(numbers)
