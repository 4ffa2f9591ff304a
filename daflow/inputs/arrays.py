"""Arrays in the user's files: .npy, .npz, netCDF-4 and zarr, read an entry at a time.

Opening reads a file's description, not its numbers (an .npz archive excepted: it is compressed as a whole).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile, is_zipfile
from zlib import error as ZlibError  # noqa: N812 - it is a class

import numpy as np
from numpy.typing import NDArray

from daflow.config.section import nearest
from daflow.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

REAL_KINDS: Final = "biuf"
"""The kinds of numpy's dtypes that are real numbers: bool, int, uint, float."""
ARCHIVES_KEPT: Final = 4
"""How many arrays of .npz archives a process keeps."""
_ZARR_MARKS: Final = ("zarr.json", ".zgroup", ".zarray")
_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, BadZipFile, ZlibError)
"""What readers raise over a file that is not what its name says, or that was cut short."""


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in a file.

    Laws: ``row(i)`` is ``whole()[i]``, and reads no other entry from a .npy, netCDF or zarr file; a file
    gives the same numbers in every format.
    """

    file: Path
    name: str | None
    """The array's name in the file; ``None`` where the file holds one array without a name."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _values: Any = field(repr=False)

    @property
    def label(self) -> str:
        """How messages call it."""
        return str(self.file) if self.name is None else f"{self.file}, array {self.name!r}"

    def row(self, index: int) -> NDArray[Any]:
        """Return entry ``index`` (from 0) along the first axis, of shape ``shape[1:]``.

        Raises
        ------
        daflow.errors.DataError
            There is no such entry, or it cannot be read.
        """
        if not self.shape or not 0 <= index < self.shape[0]:
            rows = f"rows 0 to {self.shape[0] - 1}" if self.shape and self.shape[0] else "no rows"
            raise DataError(f"{self.label}: there is no row {index}", got=f"shape {self.shape}", allowed=rows)
        with _reading(self.file):
            return np.asarray(self._values[index])

    def whole(self) -> NDArray[Any]:
        """Return all of it, of shape ``shape``.

        Raises
        ------
        daflow.errors.DataError
            It cannot be read.
        """
        with _reading(self.file):
            return np.asarray(self._values[...])


def open_array(file: Path, name: str | None, default: str | None = None) -> StoredArray:
    """Open one array of a file; the suffix (.npy, .npz, .nc, .nc4, .zarr) says what the file is.

    A folder with zarr metadata is zarr, whatever it is called. netCDF and labelled zarr arrays are decoded
    by the CF conventions (fill values become NaN, packed numbers are unpacked), times excepted: they stay
    the numbers that the file holds.

    Parameters
    ----------
    file
        A file, or a folder of zarr.
    name
        The array's name in it; ``None`` where the file holds one array without a name (.npy, or a zarr
        array without a group), where ``default`` names it, or where it is the only one.
    default
        The name to look for where ``name`` is ``None`` and the file's arrays have names.

    Raises
    ------
    daflow.errors.DataError
        The file is missing, unreadable or of an unknown kind; there is no such array in it; the array does
        not hold real numbers.
    """
    reader = _READERS[_format_of(file)]
    arrays = reader(file)
    wanted = _choose(file, list(arrays), name, default)
    with _reading(file):
        values = arrays[wanted]()
    dtype = np.dtype(values.dtype)
    label = str(file) if wanted is None else f"{file}, array {wanted!r}"
    if dtype.kind not in REAL_KINDS:
        raise DataError(
            f"{label}: does not hold real numbers",
            got=f"dtype {dtype}",
            allowed="bool, int or float",
            do="name another array, or save it as numbers",
        )
    return StoredArray(file, wanted, tuple(int(n) for n in values.shape), dtype, values)


def check_file(file: Path, formats: Sequence[str]) -> None:
    """Refuse a file that is not there.

    Raises
    ------
    daflow.errors.DataError
        There is none; the message names the nearest in the same folder.
    """
    try:
        if file.exists():
            return
        folder = file.parent
        beside = [path.name for path in folder.iterdir() if path.suffix in formats] if folder.is_dir() else []
    except OSError as error:
        raise unreadable(file, error) from error
    near = nearest(file.name, beside)
    cure = "correct the path, or put the file there" if near is None else f"did you mean {near!r}?"
    raise DataError(f"{file}: no such file", got=None if beside else f"nothing like it in {folder}", do=cure)


def unreadable(file: Path, problem: object) -> DataError:
    """Return the error of a file that a reader could not read."""
    if isinstance(problem, UnicodeDecodeError):
        what = f"{file}: not text: byte {problem.start} is not UTF-8"
        return DataError(what, do="save it as UTF-8; in a spreadsheet: 'CSV UTF-8'")
    return DataError(
        f"{file}: cannot be read as what its name says, {file.suffix or 'zarr'}",
        got=problem,
        do="was it cut short, or saved in another format? is it yours to read? write it anew",
    )


def open_labelled(file: Path) -> xr.Dataset:
    """Open a netCDF-4 file or a zarr group whose arrays have dimensions, lazily.

    Raises
    ------
    daflow.errors.DataError
        It cannot be read.
    """
    import xarray as xr  # noqa: PLC0415 - only where a file has labels

    settings: dict[str, Any] = {"decode_times": False, "decode_timedelta": False, "chunks": None}
    with _reading(file):
        if _format_of(file) == ".zarr":
            # Consolidated metadata are a copy that may be missing or old.
            opened: xr.Dataset = xr.open_zarr(file, consolidated=False, **settings)
            return opened
        return xr.open_dataset(file, engine="h5netcdf", cache=False, **settings)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as problem:
        raise unreadable(file, f"{type(problem).__name__}: {problem}") from problem


def _format_of(file: Path) -> str:
    check_file(file, list(_READERS))
    if file.is_dir() and any((file / mark).is_file() for mark in _ZARR_MARKS):
        return ".zarr"
    suffix = file.suffix.lower()
    if suffix not in _READERS:
        raise DataError(
            f"{file}: arrays are not read from such a file",
            got=f"suffix {suffix!r}" if suffix else "no suffix",
            allowed=", ".join(_READERS),
            do="save the array in one of these formats",
        )
    if file.is_dir():
        what = "a folder without zarr metadata" if suffix == ".zarr" else "a folder"
        raise unreadable(file, what)
    return suffix


Opener = Callable[[], Any]
"""Gives an array, or something that is sliced like one."""


def _choose(file: Path, there: Sequence[str | None], name: str | None, default: str | None) -> str | None:
    if not there:
        raise DataError(f"{file}: there is no array in it", do="save the array in it, or name another file")
    if there == [None]:
        if name is not None:
            what = f"{file}: holds one array without a name, not {name!r}"
            raise DataError(what, got=name, allowed="null", do="leave the array's name out")
        return None
    known = [one for one in there if one is not None]
    wanted = name or default or (known[0] if len(known) == 1 else None)
    if wanted is not None and wanted in known:
        return wanted
    near = None if wanted is None else nearest(wanted, known)
    raise DataError(
        f"{file}: holds several arrays" if wanted is None else f"{file}: there is no array {wanted!r} in it",
        got=wanted,
        allowed=", ".join(known),
        do="name one of these" if near is None else f"did you mean {near!r}?",
    )


def _npy(file: Path) -> Mapping[str | None, Opener]:
    return {None: lambda: np.lib.format.open_memmap(file, mode="r")}


def _npz(file: Path) -> Mapping[str | None, Opener]:
    with _reading(file), file.open("rb") as raw:
        if not is_zipfile(raw):
            raise unreadable(file, "not a zip archive")
        raw.seek(0)
        with np.load(raw, allow_pickle=False) as archive:
            names = list(archive.files)
        stamp = file.stat()
    return {name: _from_archive(file, name, (stamp.st_mtime_ns, stamp.st_size)) for name in names}


def _from_archive(file: Path, name: str, stamp: tuple[int, int]) -> Opener:
    return lambda: _unpacked(file, name, stamp)


@lru_cache(maxsize=ARCHIVES_KEPT)
def _unpacked(file: Path, name: str, stamp: tuple[int, int]) -> NDArray[Any]:
    """Return an array of an archive; the stamp tells a file from the one that was there before it."""
    del stamp
    with file.open("rb") as raw, np.load(raw, allow_pickle=False) as archive:
        values: NDArray[Any] = archive[name]
    values.setflags(write=False)
    return values


def _labelled(file: Path) -> Mapping[str | None, Opener]:
    dataset = open_labelled(file)
    return {str(name): _one(dataset.variables, name) for name in dataset.variables}


def _zarr(file: Path) -> Mapping[str | None, Opener]:
    import zarr  # noqa: PLC0415 - only where a file is of zarr

    with _reading(file):
        found = zarr.open(file, mode="r")
        if isinstance(found, zarr.Array):
            return {None: lambda: found}
        arrays = dict(found.arrays())
    if arrays and all(_is_labelled(array) for array in arrays.values()):
        return _labelled(file)
    return {name: _one(arrays, name) for name in arrays}


def _is_labelled(array: Any) -> bool:
    named = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    return array.ndim == 0 or (bool(named) and all(named))


def _one(arrays: Mapping[Any, Any], name: Any) -> Opener:
    return lambda: arrays[name]


_READERS: Final[Mapping[str, Callable[[Path], Mapping[str | None, Opener]]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".nc": _labelled,
    ".nc4": _labelled,
    ".zarr": _zarr,
}
