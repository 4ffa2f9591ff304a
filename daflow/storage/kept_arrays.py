"""Named arrays in a folder, a file each: there whole or not at all, and read where they lie."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from daflow.errors import StoreError
from daflow.ports import Arrays
from daflow.storage.files import PARTIAL, make_folder, store_errors, sync_folder

SUFFIX: Final = ".npy"
SMALL: Final = 2**16
"""Bytes of a file below which it is sooner read than mapped."""


def keep_arrays(folder: Path, arrays: Arrays) -> None:
    """Write arrays into a folder of their own, durably, in the place of what is there.

    No copy is made of an array that is contiguous, in the order of C or of Fortran.

    Raises
    ------
    daflow.errors.StoreError
        The disk is full or the folder above is not writable.
    """
    make_folder(folder.parent)
    partial, old = _aside(folder), _aside(folder)
    with store_errors("write", folder):
        try:
            partial.mkdir()
            for name, array in arrays.items():
                with (partial / f"{name}{SUFFIX}").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    file.flush()
                    os.fdatasync(file.fileno())
            sync_folder(partial)
            if folder.exists():
                folder.rename(old)
            try:
                partial.rename(folder)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                # Another attempt was there first, or another host, of which a client of NFS hears later.
                folder.rename(old)
                partial.rename(folder)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    sync_folder(folder.parent)


def kept_arrays(folder: Path) -> Arrays | None:
    """Return the arrays in a folder, not to be written to; ``None`` if it is not there.

    Large ones are mapped: what nobody looks at is not read, and the workers of a machine share the rest.

    Raises
    ------
    daflow.errors.StoreError
        A file is not what was written.
    """
    if not folder.is_dir():
        return None
    return {path.stem: _read(path) for path in sorted(folder.glob(f"*{SUFFIX}"))}


def _read(path: Path) -> NDArray[Any]:
    with store_errors("read", path), as_written(path):
        array: NDArray[Any] = np.load(path, mmap_mode="r" if path.stat().st_size > SMALL else None)
    array.flags.writeable = False
    return array


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{PARTIAL}")


@contextmanager
def as_written(path: Path | str) -> Iterator[None]:
    """Turn what a reader says about a file's content into a `StoreError` that says what to do."""
    try:
        yield
    except (ValueError, EOFError, KeyError, BadZipFile) as error:
        raise StoreError(
            f"{path} is not what was written",
            got=str(error),
            do="restore the file, or run the workflow again in a new folder",
        ) from error
