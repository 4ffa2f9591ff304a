"""Files that are whole or absent, and durable before anyone is told of them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from daflow.errors import StoreError

PARTIAL = ".partial"
"""What a file being written ends in; a reader never looks at one."""
NO_SYNC: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems say that do not sync folders."""
_LEFT = re.compile(rf"\..*{re.escape(PARTIAL)}|.*\.[0-9a-f]{{32}}{re.escape(PARTIAL)}")
"""The names of ours, and of those that zarr writes."""


@contextmanager
def store_errors(what: str, path: Path | str) -> Iterator[None]:
    """Turn what the operating system says about a path into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot {what} {path}",
            got=f"{error.strerror or error} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that it is there whole after a power cut, or not at all.

    The caller makes the name itself durable, once for all the files it wrote, by `sync_folder`.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder is not writable.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    with store_errors("write", path):
        try:
            with partial.open("wb", buffering=0) as file:
                _write_all(file.fileno(), memoryview(data).cast("B"))
                os.fdatasync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def make_folder(path: Path) -> None:
    """Make a folder and those above it, durably; one that is there already is fine.

    Raises
    ------
    daflow.errors.StoreError
        The folder above is not writable, or a file stands there.
    """
    with store_errors("make the folder", path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def sync_folder(path: Path | str) -> None:
    """Make the names in a folder durable, where folders can be synced."""
    _sync(path, _sync_names)


def _sync_names(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise


def sync_file(path: Path) -> None:
    """Make the content of a file durable that somebody else wrote."""
    _sync(path, os.fdatasync)


def _sync(path: Path | str, how: Callable[[int], None]) -> None:
    with store_errors("sync", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            how(descriptor)
        finally:
            os.close(descriptor)


def remove_partials(root: Path) -> int:
    """Remove what writers that were killed left unfinished; return how many files and folders that were.

    Only for a run that has no writers: its driver calls this before it sends the first task.
    """
    with store_errors("clean", root):
        partials = [found for found in root.rglob(f"*{PARTIAL}") if _LEFT.fullmatch(found.name)]
        for partial in partials:
            if partial.is_dir():
                # On NFS a file that somebody on this host still reads stays as .nfs*: it harms nobody.
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)
    return len(partials)
