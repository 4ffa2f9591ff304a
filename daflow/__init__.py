"""Distributed ensemble workflows: data assimilation and inverse problems on dask, xarray and zarr."""

from daflow.errors import DaflowError

__all__ = ["DaflowError"]
__version__ = "0.1.0"
