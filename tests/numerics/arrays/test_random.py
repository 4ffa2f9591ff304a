from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import ConfigError
from daflow.names import TRUTH, Purpose
from daflow.numerics.arrays.random import BLOCK_SIZE, NormalRows, model_seed, standard_normals, stream

N_NUMBERS = 3 * BLOCK_SIZE + 17
WHOLE = standard_normals(7, Purpose.PRIOR, (0, 3), 0, N_NUMBERS)


@settings(max_examples=40)
@given(st.lists(st.integers(0, N_NUMBERS), max_size=6))
def test_that_any_partition_gives_the_same_bits(cuts):
    edges = [0, *sorted(cuts), N_NUMBERS]
    pieces = [standard_normals(7, Purpose.PRIOR, (0, 3), *edge) for edge in pairwise(edges)]
    assert np.concatenate(pieces).tobytes() == WHOLE.tobytes()


@settings(max_examples=20)
@given(st.lists(st.integers(0, N_NUMBERS), max_size=6))
def test_that_sequences_read_side_by_side_give_the_bits_that_each_gives_alone(cuts):
    edges = [0, *sorted(cuts), N_NUMBERS]
    rows = NormalRows(7, Purpose.PRIOR, [(0, 3), (0, 9)])
    pieces = [rows.take(stop - start) for start, stop in pairwise(edges)]
    together = np.concatenate(pieces, axis=1)
    assert together[0].tobytes() == WHOLE.tobytes()
    assert together[1].tobytes() == standard_normals(7, Purpose.PRIOR, (0, 9), 0, N_NUMBERS).tobytes()


@pytest.mark.parametrize("start", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 5])
def test_that_sequences_read_from_a_place_on_give_what_lies_behind_it(start):
    rows = NormalRows(7, Purpose.PRIOR, [(0, 9), (0, 3)], start)
    assert rows.take(N_NUMBERS - start)[1].tobytes() == WHOLE[start:].tobytes()


@settings(max_examples=40)
@given(st.integers(0, 2**63 - 1), st.sampled_from(Purpose), st.lists(st.integers(-1, 2**63 - 1), max_size=3))
def test_that_the_same_address_gives_the_same_numbers(seed, purpose, address):
    first = stream(seed, purpose, *address).standard_normal(3)
    assert first.tobytes() == stream(seed, purpose, *address).standard_normal(3).tobytes()


def test_that_different_addresses_give_different_numbers():
    addresses = [(), (0,), (-1,), (0, 0), (1,), (2**32,), (0, 1), (1, 0), (2**32 - 1,), (2**62,), (0, TRUTH)]
    firsts = {
        stream(seed, purpose, *address).standard_normal()
        for seed in (0, 1, 2**32, 2**63 - 1)
        for purpose in Purpose
        for address in addresses
    }
    assert len(firsts) == 4 * len(Purpose) * len(addresses)


def test_that_a_stream_is_not_the_first_block_of_a_sequence_of_the_same_words():
    assert (
        stream(1, Purpose.MODEL, 2, 0).standard_normal() != standard_normals(1, Purpose.MODEL, (2,), 0, 1)[0]
    )


def test_that_the_numbers_are_standard_normal_and_members_independent():
    pairs = np.stack([WHOLE, standard_normals(7, Purpose.PRIOR, (0, 4), 0, N_NUMBERS)])
    limit = 5 / np.sqrt(N_NUMBERS)
    assert np.abs(pairs.mean(axis=1)).max() < limit
    assert np.abs(np.cov(pairs) - np.eye(2)).max() < np.sqrt(2) * limit


def test_that_the_streams_are_philox():
    assert isinstance(stream(0, Purpose.PRIOR).bit_generator, np.random.Philox)


def test_that_model_seeds_fit_63_bits_and_tell_forecasts_apart():
    seeds = [model_seed(5, step, member) for step in range(20) for member in range(TRUTH, 50)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    assert model_seed(5, 0, 0) == model_seed(5, 0, 0) != model_seed(6, 0, 0)


def test_that_an_empty_slice_is_empty():
    assert standard_normals(1, Purpose.PRIOR, (0,), 5, 5).shape == (0,)


BAD = {
    "negative seed": lambda: stream(-1, Purpose.PRIOR),
    "large seed": lambda: stream(2**63, Purpose.PRIOR),
    "seed of no whole number": lambda: stream(1.5, Purpose.PRIOR),
    "address below the truth": lambda: stream(1, Purpose.PRIOR, -2),
    "large address": lambda: model_seed(1, 0, 2**63),
    "negative start": lambda: standard_normals(1, Purpose.PRIOR, (), -1, 3),
    "sequence of a bad address": lambda: NormalRows(1, Purpose.PRIOR, [(0,), (-7,)]),
    "backwards": lambda: standard_normals(1, Purpose.PRIOR, (), 4, 3),
}


@pytest.mark.parametrize("case", BAD)
def test_that_addresses_out_of_range_are_refused(case):
    with pytest.raises(ConfigError):
        BAD[case]()
