"""What the figures were taken on, and with which versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
from threadpoolctl import threadpool_info

PACKAGES: Final = (
    "daflow",
    "numpy",
    "scipy",
    "dask",
    "zarr",
    "numba",
    "pyesmda",
    "iterative_ensemble_smoother",
    "dageo",
    "dapper",
)


def machine() -> dict[str, Any]:
    """Return the machine, the libraries of linear algebra, and the versions of the contenders."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "blas": sorted(
            {
                f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture', '')}".strip()
                for pool in threadpool_info()
            }
        ),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def disk_of(place: Path) -> str:
    """Return the kind of file system that a folder is on."""
    mounts = [
        part for part in psutil.disk_partitions(all=True) if place.resolve().is_relative_to(part.mountpoint)
    ]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
