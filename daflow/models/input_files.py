"""The files that a command finds in its member's directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from daflow.config.external_models import ArrayFile, CopiedFile, NetcdfFile, TemplateFile, target_of
from daflow.config.section import nearest
from daflow.errors import ConfigError, DataError
from daflow.inputs.arrays import open_array
from daflow.models.array_files import Values, write_array
from daflow.models.templates import load_template
from daflow.ports import FloatArray, MemberInput

ADDRESS: Final = ("member", "step", "seed")
"""What a template gets besides parameters."""

FileSettings = TemplateFile | CopiedFile | ArrayFile | NetcdfFile


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to be written, ready but for the member's own numbers."""

    target: str
    variables: frozenset[str]
    """The variables that it takes; no others are read from the store."""
    write: Callable[[Path, MemberInput], None]
    """Writes it to a path."""


def prepare_input_file(settings: FileSettings) -> InputFile:
    """Return a file ready to be written; whatever does not depend on the member is read now.

    Raises
    ------
    daflow.errors.InputError
        A source is missing or unusable.
    """
    return _PREPARE[settings.kind](settings)


def parameter(given: MemberInput, name: str, target: str) -> FloatArray:
    """Return one variable of the member's; ``target`` is the file that asks for it.

    Raises
    ------
    daflow.errors.ConfigError
        There is no such variable.
    """
    if name not in given.parameters:
        near = nearest(name, given.parameters)
        raise ConfigError(
            f"model.files: {target} asks for a variable that the prior does not have",
            got=name,
            allowed=", ".join(given.parameters),
            do=f"did you mean {near!r}?" if near else "name one of these, or add it to the prior",
        )
    return given.parameters[name]


def _prepare_template(settings: TemplateFile) -> InputFile:
    template = load_template(settings.source)
    variables = template.names - set(ADDRESS)

    def write(path: Path, given: MemberInput) -> None:
        template.check_names([*ADDRESS, *given.parameters])
        values: dict[str, object] = {name: getattr(given, name) for name in ADDRESS}
        values |= {name: _scalar(given, name, settings.source) for name in variables}
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(template.render(values))

    return InputFile(target_of(settings), variables, write)


def _scalar(given: MemberInput, name: str, source: Path) -> float:
    values = given.parameters[name]
    if np.size(values) != 1:
        raise ConfigError(
            f"{source}: {name!r} is not one number",
            got=f"shape {np.shape(values)}",
            allowed="a variable with one number",
            do="write it by an entry of kind 'array' or 'netcdf'",
        )
    return float(np.reshape(values, ())[()])


def _prepare_copy(settings: CopiedFile) -> InputFile:
    source = settings.source.resolve()
    if not source.exists():
        raise DataError(f"{source}: no such file", do="correct the path, or put the file there")
    write = _COPY[settings.how]
    return InputFile(target_of(settings), frozenset(), lambda path, _: write(source, path))


def _copy(source: Path, path: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, path)
    else:
        shutil.copyfile(source, path)
        # Programs stay executable; a source that is read-only does not make a copy that cannot be removed.
        path.chmod(source.stat().st_mode | 0o200)


def _symlink(source: Path, path: Path) -> None:
    path.symlink_to(source, target_is_directory=source.is_dir())


def _prepare_array(settings: ArrayFile) -> InputFile:
    if settings.source is not None:
        fixed = open_array(settings.source.file, settings.source.array).whole()
        return InputFile(settings.target, frozenset(), lambda path, _: write_array(path, fixed, settings))
    name = str(settings.variable)

    def write(path: Path, given: MemberInput) -> None:
        write_array(path, parameter(given, name, settings.target), settings)

    return InputFile(settings.target, frozenset({name}), write)


def _prepare_netcdf(settings: NetcdfFile) -> InputFile:
    def write(path: Path, given: MemberInput) -> None:
        arrays: dict[str, tuple[list[str], Values]] = {}
        sizes: dict[str, int] = {}
        for name, dims in settings.variables.items():
            values = parameter(given, name, settings.target)
            if values.ndim != len(dims) or any(
                sizes.setdefault(dim, size) != size for dim, size in zip(dims, values.shape, strict=True)
            ):
                raise ConfigError(
                    f"model.files: {settings.target}: dimensions of {name!r} do not fit",
                    got=f"shape {values.shape}, dimensions {dims}",
                    allowed="one name a dimension, and one size a name",
                    do="correct 'variables'",
                )
            arrays[name] = (dims, values)
        import xarray as xr  # noqa: PLC0415 - only where a command reads netCDF

        xr.Dataset(arrays).to_netcdf(path, engine="h5netcdf")

    return InputFile(settings.target, frozenset(settings.variables), write)


_COPY: Final[Mapping[str, Callable[[Path, Path], None]]] = {"copy": _copy, "symlink": _symlink}
_PREPARE: Final[Mapping[str, Callable[[Any], InputFile]]] = {
    "template": _prepare_template,
    "copy": _prepare_copy,
    "array": _prepare_array,
    "netcdf": _prepare_netcdf,
}
