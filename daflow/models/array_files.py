"""Arrays, written as the files that simulators read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.external_models import ArrayFile
from daflow.errors import ModelFailed

Values = NDArray[Any]

_TRANSFORMS: Final[dict[str, Callable[[Values], Values]]] = {
    "none": lambda values: values,
    "exp": np.exp,
    "exp10": lambda values: np.power(10.0, values),
}
_DIGITS: Final = {"float64": "%.17g", "float32": "%.9g", "int64": "%d", "int32": "%d"}
"""As many digits as it takes to read the same number."""


def write_array(path: Path, values: Values, settings: ArrayFile) -> None:
    """Write an array to a file as its settings say.

    Law: the file, read back, holds ``scale * transform(values)`` to the last bit of ``dtype``.

    Raises
    ------
    daflow.errors.ModelFailed
        A value cannot be written so: it is not finite, or not whole where ``dtype`` is whole numbers.
    """
    what = settings.variable or f"{settings.target} (from {settings.source and settings.source.file})"
    with np.errstate(all="ignore"):
        wanted = _TRANSFORMS[settings.transform](values)
        wanted = wanted * settings.scale if settings.scale != 1.0 else wanted
        written = wanted.astype(settings.dtype)
    lost = ~np.isfinite(written)
    if np.dtype(settings.dtype).kind == "i":
        lost = written != wanted
    if lost.any():
        first = tuple(int(i) for i in np.argwhere(lost)[0])
        raise ModelFailed(
            f"{what}: {int(lost.sum())} values cannot be written as {settings.dtype}",
            got=f"{np.asarray(values)[first]} at {first}, {wanted[first]} after transform and scale",
            do="bound the variable, or choose another transform, scale or dtype",
        )
    _FORMATS[settings.format](path, written.T if settings.order == "F" else written, settings)


def _write_npy(path: Path, values: Values, settings: ArrayFile) -> None:
    del settings
    with path.open("wb") as file:
        np.save(file, np.ascontiguousarray(values))


def _write_csv(path: Path, values: Values, settings: ArrayFile) -> None:
    _write_lines(path, values, settings, ",")


def _write_text(path: Path, values: Values, settings: ArrayFile) -> None:
    _write_lines(path, values, settings, " ")


def _write_lines(path: Path, values: Values, settings: ArrayFile, separator: str) -> None:
    """Write the last dimension along a line; a variable of one dimension is a column."""
    rows = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    np.savetxt(path, rows, fmt=_DIGITS[settings.dtype], delimiter=separator)


def _write_eclipse_include(path: Path, values: Values, settings: ArrayFile) -> None:
    flat = values.ravel().tolist()
    digits, width = _DIGITS[settings.dtype], settings.per_line
    whole = len(flat) - len(flat) % width
    line = " ".join([digits] * width)
    lines = [line % tuple(flat[i : i + width]) for i in range(0, whole, width)]
    if whole < len(flat):
        lines.append(" ".join(digits % value for value in flat[whole:]))
    path.write_text("\n".join([str(settings.keyword), *lines, "/", ""]), encoding="ascii")


_FORMATS: Final[dict[str, Callable[[Path, Values, ArrayFile], None]]] = {
    "npy": _write_npy,
    "csv": _write_csv,
    "text": _write_text,
    "eclipse_include": _write_eclipse_include,
}
