"""Where the arrays of a run go, as the workflow says it: its folder, another one, or an object store."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from daflow.assemble.sections.fits import check_place
from daflow.config.schema import Workflow
from daflow.config.storage import StorageSettings
from daflow.errors import ConfigError, DataError
from daflow.storage.medium import Medium


def place_of(workflow: Workflow, folder: Path) -> Path | Medium:
    """Return where the arrays of the run in a folder go; nothing is asked of an object store.

    Raises
    ------
    daflow.errors.ConfigError
        It is an object store, and what it takes to reach one is not there.
    """
    path = workflow.storage.path
    if path is None:
        return folder / "ensemble.zarr"
    if isinstance(path, Path):
        return path
    found: Medium = _object_access().medium_of(path, workflow.storage.options)
    return found


def look_at_place(storage: StorageSettings) -> None:
    """See that arrays can go where they are to go, as far as can be told by looking.

    Raises
    ------
    daflow.errors.InputError
        They cannot.
    """
    if isinstance(storage.path, Path):
        check_place(storage.path, "storage.path")
    elif storage.path is not None:
        _object_access().look(storage.path, storage.options)


def check_free(storage: StorageSettings, whose: str) -> None:
    """See that nothing is yet where the arrays are to go, and that an object store keeps what it is given.

    Parameters
    ----------
    storage
        Where that is.
    whose
        Who is to have it: "a run".

    Raises
    ------
    daflow.errors.InputError
        Something is there, or the store cannot be used.
    """
    path = storage.path
    if isinstance(path, Path) and path.exists() and any(path.iterdir()):
        raise DataError(
            f"storage.path: {path} is in use",
            got="a folder that is not empty",
            allowed=f"a folder that does not exist yet, or is empty: {whose} has a store of its own",
            do="name another folder, or clear this one away",
        )
    if isinstance(path, str):
        access = _object_access()
        if access.look(path, storage.options):
            raise DataError(
                f"storage.path: {path} is in use",
                got="objects whose names begin so",
                allowed=f"a prefix under which there is nothing yet: {whose} has a store of its own",
                do="name another prefix, or clear this one away",
            )
        access.try_out(path, storage.options)


def place_of_branch(path: Path | str, branches: str, name: str) -> str:
    """Return where the arrays of a branch go by default: beside those of the run that it is a branch of."""
    if isinstance(path, Path):
        return str(path.with_name(f"{path.name}.{branches}") / name)
    return f"{path}.{branches}/{name}"


def without_way(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow, as plain JSON, without the way to its store: by another it is the same store."""
    storage = {name: value for name, value in plain["storage"].items() if name != "options"}
    return plain | {"storage": storage}


def reached(storage: StorageSettings) -> str:
    """Return why the object store of a run cannot be reached from this process; nothing: it can be."""
    try:
        look_at_place(storage)
    except (ConfigError, DataError) as error:
        return f"{error.what}: {error.got}" if error.got else error.what
    return ""


def _object_access() -> ModuleType:
    if find_spec("obstore") is None:
        raise ConfigError(
            "storage.path: an object store is reached by a library that is not installed here",
            got="no obstore",
            do="pip install 'daflow[object-store]', where the driver and the workers run",
        )
    from daflow.storage import object_access  # noqa: PLC0415 - optional, and nothing to load without need

    return object_access
