"""What becomes of an attempt's own directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from daflow.config.external_models import Keep

_STAYS: Final[dict[Keep, tuple[bool, bool]]] = {
    "failed": (True, False),
    "always": (True, True),
    "never": (False, False),
}
"""Whether the directory stays: after a failure, after a success."""


def stays(keep: Keep, *, success: bool) -> bool:
    """Say whether the directory of an attempt stays that ended so."""
    return _STAYS[keep][success]


@contextmanager
def attempt_directory(path: Path, keep: Keep) -> Iterator[None]:
    """Remove the directory when the context ends, unless how it ended is a reason to keep it."""
    success = False
    try:
        yield
        success = True
    finally:
        if not stays(keep, success=success):
            shutil.rmtree(path, ignore_errors=True)
