"""Reading and writing past the page cache, where file system, memory and size let that be.

What is larger than the memory goes through the page cache for nothing: it is copied once more, and written
at half the disk's speed once the system holds writers back. Direct files want memory, offsets and sizes in
blocks of `ALIGNMENT`; whatever is not, and every file where the file system refuses, goes the usual way. The
files are the same.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from daflow.errors import StoreError

ALIGNMENT: Final = 4096
"""Bytes."""
SMALLEST_DIRECT: Final = 2**18
"""Bytes of a file below which the page cache is no slower, and an ensemble of such states fits into it."""
HUGE_PAGE: Final = 2**21
DIRECT: Final[int] = getattr(os, "O_DIRECT", 0)
"""The flag; 0 where the operating system has none."""
REFUSALS: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""What a file system without direct files says, when one is opened or when it is used."""


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return memory (zeros) that begins on a block, in huge pages if it is large: they are sooner there."""
    count = prod(shape)
    n_bytes = max(count * np.dtype(dtype).itemsize, 1)
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if n_bytes >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them: ordinary pages do as well
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, count).reshape(shape)


class FileAccess:
    """Reads and writes the files of one store; direct until its file system refuses that once.

    Parameters
    ----------
    direct
        Whether direct files are tried at all.
    """

    def __init__(self, *, direct: bool = True) -> None:
        self.direct = direct and DIRECT != 0

    def create(self, path: str, numbers: NDArray[Any]) -> int:
        """Make a file that must be new, write numbers to it, and return it open.

        Raises
        ------
        OSError
            Also where the folder is missing.
        """
        descriptor = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | self._flag(numbers))
        try:
            left = numbers.data.cast("B") if numbers.size else b""
            while left:
                try:
                    left = left[os.write(descriptor, left) :]
                except OSError as error:
                    self._give_up_direct(descriptor, error)
        except OSError:
            os.close(descriptor)
            os.unlink(path)
            raise
        return descriptor

    def read(self, path: str, offset: int, out: NDArray[Any]) -> None:
        """Fill contiguous memory with what a file holds from an offset on.

        Raises
        ------
        OSError
            The file cannot be read.
        daflow.errors.StoreError
            It is too short.
        """
        descriptor = self._open(path, os.O_RDONLY | self._flag(out, offset))
        try:
            left, at = out.data.cast("B") if out.size else memoryview(b""), offset
            while left:
                try:
                    n_read = os.preadv(descriptor, [left], at)
                except OSError as error:
                    self._give_up_direct(descriptor, error)
                    continue
                if n_read == 0:
                    raise _cut_short(path, at - offset, offset, out.nbytes)
                left, at = left[n_read:], at + n_read
                if left and at % ALIGNMENT:  # the file ends here, or goes on where no direct read can begin
                    _end_direct(descriptor)
        finally:
            os.close(descriptor)

    def _flag(self, numbers: NDArray[Any], offset: int = 0) -> int:
        """Return the flag of a direct file, if these numbers at this offset can be read or written so."""
        if not self.direct or numbers.nbytes < SMALLEST_DIRECT:
            return 0
        address = numbers.__array_interface__["data"][0]
        return 0 if (address | numbers.nbytes | offset) % ALIGNMENT else DIRECT

    def _open(self, path: str, flags: int) -> int:
        try:
            return os.open(path, flags, 0o666)
        except OSError as error:
            if not flags & DIRECT or error.errno not in REFUSALS:
                raise
        self.direct = False
        return os.open(path, flags & ~DIRECT, 0o666)

    def _give_up_direct(self, descriptor: int, error: OSError) -> None:
        """Go on the usual way where it was the direct one that was refused; else raise the error."""
        if error.errno not in REFUSALS or not _end_direct(descriptor):
            raise error
        self.direct = False


def _end_direct(descriptor: int) -> bool:
    """Let an open file be read and written the usual way; say whether it was a direct one."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~DIRECT)
    return bool(flags & DIRECT)


def _cut_short(path: str, got: int, offset: int, wanted: int) -> StoreError:
    return StoreError(
        f"chunk {path} is shorter than it was written",
        got=f"{got} bytes after {offset}",
        allowed=f"{wanted} bytes",
        do="restore the file, or run the workflow again in a new folder",
    )
