"""What a member's forecast has to run on, as a program is told."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from signal import Signals
from typing import Final

from daflow.models.process import Ending

THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""The variables by which programs and their libraries learn how many threads they may have."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What each forecast has."""

    cores: int | None = None
    """For each process; ``None``: nobody said, and programs find what their worker finds."""
    tasks: int = 1
    """Processes, on all nodes together."""
    nodes: int = 1
    launcher: str = ""
    """Words before the command, with places to fill in."""

    def places(self) -> dict[str, str]:
        """Return what stands for the placeholders of a command."""
        return {"cores": str(self.cores or 1), "tasks": str(self.tasks), "nodes": str(self.nodes)}

    def environment(self) -> Mapping[str, str]:
        """Return the variables that tell programs how many threads each process may have."""
        return {} if self.cores is None else dict.fromkeys(THREADS, str(self.cores))

    def launched(self) -> list[str]:
        """Return the words before the command."""
        text = self.launcher
        for name, value in self.places().items():
            text = text.replace(f"{{{name}}}", value)
        return shlex.split(text)


NOBODY_SAID: Final = Resources()
"""As it is where execution.member says nothing."""
OF_SIGNALS: Final = range(129, 160)
"""Exit codes by which launchers and shells tell that a signal ended what they started: 128 and its number."""


def as_ended(ending: Ending) -> Ending:
    """Return how a command ended that a launcher started: by a signal, where the launcher tells of one."""
    code = ending.exit_code
    if code is None or code not in OF_SIGNALS or code - 128 not in set(Signals):
        return ending
    return replace(ending, exit_code=None, signal=Signals(code - 128).name)
