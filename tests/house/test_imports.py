"""What is imported only by those who need it: dask, xarray and zarr take longer than most commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("dask", "distributed", "xarray", "zarr", "pandas", "scipy", "matplotlib", "h5py", "h5netcdf")
UNNEEDED = (*HEAVY, "numpy", "pydantic", "importlib.metadata", "rich.progress")
"""By who only tells what there is."""
COMMAND = """
from contextlib import suppress
from daflow.cli.app import app
with suppress(SystemExit):
    app({words})
"""


def imported_by(code, heavy):
    asked = f"{code}\nimport sys\nprint(*(name for name in {heavy} if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    return ended.stdout.splitlines()[-1].split()


def test_that_what_is_imported_is_seen():
    assert imported_by("import dask", HEAVY) == ["dask"]


def test_that_importing_daflow_imports_nothing_that_takes_long():
    assert imported_by("import daflow", HEAVY) == []


def test_that_help_imports_nothing_that_takes_long():
    assert imported_by(COMMAND.format(words=["--help"]), UNNEEDED) == []


@pytest.mark.parametrize("command", ["init", "schema", "status"])
def test_that_the_help_of_commands_imports_no_dask(command):
    assert imported_by(COMMAND.format(words=[command, "--help"]), ("dask", "distributed")) == []


def test_that_a_worker_imports_only_what_every_run_needs():
    unneeded = ("xarray", "pandas", "matplotlib", "h5netcdf", "scipy.optimize", "numba", "rich", "typer")
    assert imported_by("import daflow.assemble.worker", unneeded) == []


def test_that_a_worker_does_not_import_the_commands_of_its_driver():
    assert imported_by("import daflow.cli.__main__", ("daflow.cli.app", "typer", "rich")) == []
