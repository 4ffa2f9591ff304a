"""What the numbers of a run depend on besides its settings: versions, the BLAS, the processor."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from threadpoolctl import threadpool_info

PACKAGES = ("daflow", "numpy", "scipy", "zarr", "dask", "distributed", "xarray")
OPTIONAL = ("numba",)
"""Packages that numbers are computed with where they are installed."""


def environment() -> dict[str, str]:
    """Return the versions and the processor that this process computes with."""
    # threadpoolctl sees the BLAS once numpy has loaded it.
    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    blas = [
        f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        **{package: _version_if_any(package) for package in OPTIONAL},
        "blas": ", ".join(sorted(set(blas))),
        "machine": platform.machine(),
        "system": os.uname().sysname,
    }


def _version_if_any(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what is not as it was: a run goes on, but its bits may not be those of a run in one piece."""
    names = sorted(then.keys() | now.keys())
    return [
        f"{name}: {then.get(name, 'absent')} then, {now.get(name, 'absent')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]
