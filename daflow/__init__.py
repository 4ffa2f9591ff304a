"""Distributed ensemble workflows: data assimilation and inverse problems on dask, xarray and zarr."""

from typing import TYPE_CHECKING, Any

from daflow.errors import DaflowError

if TYPE_CHECKING:
    from daflow.assemble.reading.opened import Run, open_run, run

__all__ = ["DaflowError", "Run", "open_run", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what runs workflows when it is first asked for: dask, xarray and zarr take a second."""
    if name in {"Run", "open_run", "run"}:
        from daflow.assemble.reading import opened  # noqa: PLC0415 - lazily, as said

        return getattr(opened, name)
    raise AttributeError(f"module 'daflow' has no attribute {name!r}")
