"""A member's forecast as a bare pool of processes makes it; imports as little as it can."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np


def lay_out(folder: Path, n_members: int, n_state: int) -> None:
    """Write what each member's forecast reads."""
    folder.mkdir()
    for member in range(n_members):
        np.random.default_rng(member).standard_normal(n_state).tofile(folder / f"{member}.in")


def forecast(folder: Path, seconds: float, every: int, out: Path, member: int) -> None:
    """Read a member's parameters, wait for so long, write what it predicts so that it stays."""
    values = np.fromfile(folder / f"{member}.in")
    time.sleep(seconds)
    partial = out / f"{member}.partial"
    with partial.open("wb", buffering=0) as file:
        file.write(values[::every].tobytes())
        os.fdatasync(file.fileno())
    partial.rename(out / f"{member}.out")
