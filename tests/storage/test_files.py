import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from daflow.errors import StoreError
from daflow.storage.files import (
    PARTIAL,
    make_folder,
    remove_partials,
    store_errors,
    sync_file,
    sync_folder,
    write_durably,
)

WRITER = """
import sys
from pathlib import Path
from daflow.storage.files import write_durably
path, number = Path(sys.argv[1]), int(sys.argv[2])
while True:
    write_durably(path, bytes([number]) * 200_000)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def largest_file(n_bytes):
    """Let no file of this process grow beyond so many bytes, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000])
def test_that_a_file_holds_what_was_written(tmp_path, data):
    path = tmp_path / "f"
    write_durably(path, b"something longer that was there before" * 10)
    write_durably(path, memoryview(data))
    assert path.read_bytes() == data
    assert names(tmp_path) == ["f"]


def test_that_a_write_that_cannot_finish_leaves_what_was_there_and_nothing_half_written(tmp_path):
    path = tmp_path / "f"
    write_durably(path, b"before")
    with largest_file(1000), pytest.raises(StoreError, match="free space") as error:
        write_durably(path, b"x" * 5000)
    assert str(path) in error.value.what
    assert "File too large" in error.value.got
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["f"]


def test_that_a_full_disk_leaves_what_was_there_and_nothing_half_written(small_disk):
    path = small_disk / "f"
    write_durably(path, b"before")
    with pytest.raises(StoreError, match="No space left"):
        write_durably(path, b"x" * 300_000)
    assert path.read_bytes() == b"before"
    assert names(small_disk) == ["f"]
    write_durably(path, b"after")
    assert path.read_bytes() == b"after"


def test_that_readers_see_one_writer_s_file_whole_while_two_write_and_are_killed(tmp_path):
    path = tmp_path / "f"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)]) for n in (1, 2)]
    try:
        seen = set()
        while len(seen) < 2:
            if path.exists():
                data = path.read_bytes()
                assert data in {b"\x01" * 200_000, b"\x02" * 200_000}
                seen.add(data[:1])
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    n_left = len(list(tmp_path.iterdir())) - 1
    assert remove_partials(tmp_path) == n_left
    assert names(tmp_path) == ["f"]
    assert len(path.read_bytes()) == 200_000


def test_that_only_partials_are_removed_however_deep_they_lie(tmp_path):
    deep = tmp_path / "a" / "b"
    make_folder(deep)
    for name in ("f", f"f{PARTIAL}", ".f", f".f.0{PARTIAL}"):
        (deep / name).write_text("")
    assert remove_partials(tmp_path) == 1
    assert names(deep) == [".f", "f", f"f{PARTIAL}"]
    assert remove_partials(tmp_path) == 0


def test_that_making_a_folder_again_is_fine_and_a_file_in_its_place_is_not(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "f").write_text("")
    for path in (tmp_path / "f", tmp_path / "f" / "g"):
        with pytest.raises(StoreError, match="make the folder"):
            make_folder(path)


@pytest.mark.parametrize("act", [sync_folder, sync_file, lambda path: write_durably(path / "f", b"")])
def test_that_what_is_not_there_gives_a_store_error_that_names_it(tmp_path, act):
    with pytest.raises(StoreError, match="absent"):
        act(tmp_path / "absent")


def test_that_syncing_leaves_content_as_it_is(tmp_path):
    (tmp_path / "f").write_text("x")
    sync_file(tmp_path / "f")
    sync_folder(tmp_path)
    assert (tmp_path / "f").read_text() == "x"


def test_that_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(KeyError), store_errors("read", tmp_path):
        raise KeyError
