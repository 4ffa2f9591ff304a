import contextlib
import os
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of 256 KiB; skipped only where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def fill():
    """Return what fills the disk under a folder and returns the file to remove."""

    def fill_disk(folder):
        path = folder / "filler"
        with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)
        return path

    return fill_disk
