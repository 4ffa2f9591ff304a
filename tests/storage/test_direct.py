import errno
import os
from pathlib import Path

import numpy as np
import pytest

from daflow.errors import StoreError
from daflow.storage import direct
from daflow.storage.direct import ALIGNMENT, SMALLEST_DIRECT, FileAccess, aligned


def is_direct(descriptor):
    info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    return bool(int(info.split("flags:")[1].split()[0], 8) & direct.DIRECT)


def numbers_of(n_bytes):
    numbers = aligned((n_bytes // 8,), "f8")
    numbers[:] = np.arange(len(numbers))
    return numbers


@pytest.fixture
def disk(tmp_path):
    """Return a folder whose file system takes direct files, of which the working tree has one at least."""
    access = FileAccess()
    os.close(access.create(f"{tmp_path}/probe", numbers_of(SMALLEST_DIRECT)))
    if not access.direct:
        pytest.skip("the file system of temporary files refuses direct files")
    return tmp_path


def test_that_memory_begins_on_a_block_and_holds_zeros():
    for shape, dtype in (((3, 5), "f4"), ((0,), "f8"), ((2**21,), "f8")):
        memory = aligned(shape, dtype)
        assert memory.shape == shape
        assert memory.dtype == dtype
        assert memory.__array_interface__["data"][0] % ALIGNMENT == 0
        assert not memory.any()
        memory[...] = 1


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (numbers_of(SMALLEST_DIRECT), True),
        (numbers_of(SMALLEST_DIRECT - ALIGNMENT), False),
        (numbers_of(SMALLEST_DIRECT + 8), False),
        (numbers_of(2 * SMALLEST_DIRECT)[1 : 1 - ALIGNMENT // 8], False),
    ],
    ids=["blocks", "small", "no blocks", "not on a block"],
)
def test_that_files_are_direct_where_that_is_possible_and_the_same_where_not(disk, numbers, expected):
    access = FileAccess()
    descriptor = access.create(f"{disk}/f", numbers)
    assert is_direct(descriptor) == expected
    os.close(descriptor)
    assert (disk / "f").read_bytes() == numbers.tobytes()
    for one in (access, FileAccess(direct=False)):
        out = np.empty_like(numbers)
        one.read(f"{disk}/f", 0, out)
        assert out.tobytes() == numbers.tobytes()
    assert access.direct


def test_that_a_file_system_that_opens_no_direct_files_is_asked_once(tmp_path, monkeypatch):
    opened = []

    def refusing(path, flags, mode=0o777):
        opened.append(bool(flags & direct.DIRECT))
        if opened[-1]:
            raise OSError(errno.EINVAL, "no direct files here")
        return os_open(path, flags, mode)

    os_open = os.open
    monkeypatch.setattr(os, "open", refusing)
    check_fallback(tmp_path)
    assert opened == [True, False, False]


def test_that_a_file_system_that_opens_direct_files_and_then_refuses_them_is_asked_once(
    tmp_path, monkeypatch
):
    written, os_write = [], os.write

    def refusing(descriptor, data):
        written.append(is_direct(descriptor))
        if written[-1]:
            raise OSError(errno.EINVAL, "not like this")
        return os_write(descriptor, data)

    monkeypatch.setattr(os, "write", refusing)
    check_fallback(tmp_path)
    assert written[1:] == [False]


def check_fallback(folder):
    numbers, access = numbers_of(SMALLEST_DIRECT), FileAccess()
    os.close(access.create(f"{folder}/f", numbers))
    assert not access.direct
    out = np.empty_like(numbers)
    access.read(f"{folder}/f", 0, out)
    assert out.tobytes() == numbers.tobytes()


def test_that_other_errors_leave_no_file_and_direct_files_stay_in_use(disk, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    access = FileAccess()
    with pytest.raises(OSError, match="full"):
        access.create(f"{disk}/f", numbers_of(SMALLEST_DIRECT))
    assert not (disk / "f").exists()
    with pytest.raises(FileNotFoundError):
        access.read(f"{disk}/f", 0, numbers_of(SMALLEST_DIRECT))
    assert access.direct


@pytest.mark.parametrize("there", [0, ALIGNMENT, SMALLEST_DIRECT - 100])
def test_that_a_file_that_is_too_short_is_an_error_however_it_is_read(disk, there):
    (disk / "f").write_bytes(bytes(there))
    for access in (FileAccess(), FileAccess(direct=False)):
        with pytest.raises(StoreError, match="shorter") as error:
            access.read(f"{disk}/f", 0, numbers_of(SMALLEST_DIRECT))
        assert f"{there} bytes after 0" in error.value.got
