from pathlib import Path

import pytest

from daflow.errors import DataError
from daflow.storage.disk import disk_of, scratch


def test_that_a_disk_is_looked_at_and_left_as_it_was(tmp_path):
    disk = disk_of(tmp_path)
    assert Path(disk.mounted) in (tmp_path, *tmp_path.resolve().parents)
    assert disk.kind
    assert disk.free_bytes > 0
    assert disk.sync_seconds > 0
    assert list(tmp_path.iterdir()) == []


def test_that_a_file_system_in_memory_is_told_by_its_name(small_disk):
    disk = disk_of(small_disk)
    assert (disk.kind, disk.mounted) == ("tmpfs", str(small_disk))
    assert disk.free_bytes <= 256 * 1024


def test_that_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="a folder that is there and is writable"):
        disk_of(tmp_path / "nowhere")


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_that_scratch_is_gone_whatever_ends_it(tmp_path, error):
    def work():
        with scratch(tmp_path) as own:
            (own / "deep" / "er").mkdir(parents=True)
            (own / "deep" / "file").write_bytes(b"x")
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert list(tmp_path.iterdir()) == []
