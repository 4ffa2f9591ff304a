import pytest

from daflow.errors import DataError, StoreError
from daflow.storage.disk_speed import CHUNKS, ROUNDS, measure, size_of, told
from daflow.storage.disk_ways import BLOCK

LITTLE = 3 * ROUNDS * BLOCK
"""One block for each way in each round, where one size of chunks is tried."""


def test_that_every_way_is_measured_within_the_bytes_allowed_and_nothing_stays(tmp_path):
    seen = []
    speed = measure(tmp_path, LITTLE, [2**20], lambda *told: seen.append(told))
    assert [(each.way, each.chunk_bytes) for each in speed.speeds] == [
        ("raw", 0),
        ("buffered", 0),
        (CHUNKS, 2**20),
    ]
    assert all(each.write > 0 and each.read > 0 and each.share > 0 for each in speed.speeds)
    assert speed.speeds[0].share == 1.0
    assert speed.at(2**20) is speed.chunks[0]
    assert 0 < speed.n_bytes <= LITTLE
    assert [done for done, _, _ in seen] == list(range(len(seen)))
    assert {total for _, total, _ in seen} == {3 * ROUNDS}
    assert list(tmp_path.iterdir()) == []


def test_that_chunks_of_any_size_can_be_tried(tmp_path):
    speed = measure(tmp_path, 4 * ROUNDS * BLOCK, [8 * 10_007, 2**21])
    assert [each.chunk_bytes for each in speed.chunks] == [8 * 10_007, 2**21]


def test_that_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupt(done, _total, _what):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, LITTLE, [2**20], interrupt)
    assert list(tmp_path.iterdir()) == []


def test_that_too_few_bytes_are_refused_with_how_many_it_takes(tmp_path):
    with pytest.raises(DataError, match=r"36 MiB or more: 3 rounds of 3 ways"):
        measure(tmp_path, LITTLE - 1, [2**20])


def test_that_a_disk_without_room_is_refused_before_anything_is_written(small_disk):
    with pytest.raises(DataError, match="no room"):
        measure(small_disk, LITTLE, [2**20])
    assert list(small_disk.iterdir()) == []


def test_that_a_disk_that_fills_up_while_it_is_measured_is_an_error_that_says_so(small_disk, fill):
    fillers = []

    def fill_it(done, _total, _what):
        if not fillers and done:
            fillers.append(fill(small_disk))

    with pytest.MonkeyPatch.context() as patch:
        for module in ("disk_speed", "disk_ways"):
            patch.setattr(f"daflow.storage.{module}.BLOCK", 2**13)
        with pytest.raises(StoreError, match="free space"):
            measure(small_disk, 3 * ROUNDS * 2**13, [2**13], fill_it)
    fillers[0].unlink()
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(328, "328 B"), (2**16, "64 KiB"), (800_000, "781 KiB"), (2**22, "4 MiB"), (2**31, "2 GiB")],
)
def test_that_sizes_of_chunks_read_as_powers_of_two(n_bytes, said):
    assert size_of(n_bytes) == said
    assert told(CHUNKS, n_bytes) == f"chunks of {said}"
