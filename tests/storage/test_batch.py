import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from daflow.errors import StoreError
from daflow.storage.batch import MOST_OPEN, Batch, flushed
from daflow.storage.direct import SMALLEST_DIRECT, FileAccess, aligned
from daflow.storage.files import PARTIAL, remove_partials

WRITER = """
import sys
import numpy as np
from daflow.storage.batch import flushed
from daflow.storage.direct import FileAccess
while True:
    with flushed(FileAccess()) as batch:
        for name in range(20):
            batch.write(sys.argv[1], str(name), np.full(10_000, int(sys.argv[2])))
"""


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def n_open():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_that_files_appear_whole_and_together_when_the_context_ends(tmp_path):
    numbers = np.arange(5.0)
    with flushed(FileAccess()) as batch:
        for name in ("0", "1"):
            batch.write(f"{tmp_path}/new/deep", name, numbers)
        assert all(name.endswith(PARTIAL) for name in files_in(tmp_path))
    assert sorted(files_in(tmp_path)) == ["new/deep/0", "new/deep/1"]
    assert (tmp_path / "new/deep/1").read_bytes() == numbers.tobytes()


def test_that_an_error_leaves_what_was_there_and_nothing_half_written(tmp_path):
    before, numbers = n_open(), np.zeros(3)
    with flushed(FileAccess()) as batch:
        batch.write(str(tmp_path), "f", numbers)

    def fail():
        with flushed(FileAccess()) as batch:
            batch.write(str(tmp_path), "f", numbers + 1)
            batch.write(str(tmp_path), "g", numbers)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(files_in(tmp_path)) == ["f"]
    assert (tmp_path / "f").read_bytes() == numbers.tobytes()
    assert n_open() == before


def test_that_no_more_files_are_open_than_a_process_may_have(tmp_path):
    before = n_open()
    with flushed(FileAccess()) as batch:
        for name in range(3 * MOST_OPEN):
            batch.write(str(tmp_path), str(name), np.zeros(1))
            assert n_open() - before <= MOST_OPEN
    assert len(files_in(tmp_path)) == 3 * MOST_OPEN
    assert n_open() == before


def test_that_threads_share_a_batch(tmp_path):
    with flushed(FileAccess()) as batch, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: batch.write(f"{tmp_path}/{n % 7}", str(n), np.full(2, n)), range(1000)))
    files = files_in(tmp_path)
    assert {
        int(name.split("/")[1]): np.frombuffer(path.read_bytes(), int).tolist()
        for name, path in files.items()
    } == {n: [n, n] for n in range(1000)}


def test_that_a_file_that_somebody_else_wrote_stays_as_it_is(tmp_path):
    (tmp_path / "f").write_text("theirs")
    with flushed(FileAccess()) as batch:
        batch.add(str(tmp_path), "f")
    batch = Batch(FileAccess())
    batch.add(str(tmp_path), "f")
    batch.discard()
    assert (tmp_path / "f").read_text() == "theirs"
    with pytest.raises(StoreError, match="absent"):
        Batch(FileAccess()).add(str(tmp_path), "absent")


@pytest.mark.parametrize("n_numbers", [1, SMALLEST_DIRECT // 8])
def test_that_a_folder_that_cannot_be_made_and_a_full_disk_block(small_disk, n_numbers):
    (small_disk / "file").write_text("")
    batch = Batch(FileAccess())
    with pytest.raises(StoreError, match="free space"):
        batch.write(f"{small_disk}/file/folder", "f", np.zeros(1))

    def fill():
        for name in range(300):
            batch.write(f"{small_disk}/a", str(name), aligned((n_numbers + 512,), "f8"))

    with pytest.raises(StoreError, match="No space left"):
        fill()
    batch.flush()
    assert not list(small_disk.rglob(f"*{PARTIAL}"))


def test_that_readers_see_whole_files_while_writers_are_killed(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in (1, 2)]
    try:
        seen = set()
        while len(seen) < 2:
            for path in tmp_path.glob("[0-9]*"):
                data = np.frombuffer(path.read_bytes(), int)
                assert data.size == 10_000
                assert (data == data[0]).all()
                seen.add(int(data[0]))
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    remove_partials(tmp_path)
    assert sorted(files_in(tmp_path), key=int) == [str(n) for n in range(20)]
