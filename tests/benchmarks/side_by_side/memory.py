"""The peak of resident memory, by the kernel's high-water mark, in a process that does nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from side_by_side.contest import Case, Contender

MB: Final = 1e6
RESET = "5\n"
"""Written to ``clear_refs`` it sets the high-water mark back to what is resident now."""


def resident(field: str, pid: int | str = "self") -> float:
    """Return ``VmRSS`` or ``VmHWM`` of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) * 1024
    return 0.0


def peak_of(contender: Contender) -> dict[str, float]:
    """Run a contender once; return its peak, and what that is beyond what was there before, in MB."""
    contender.before()
    Path("/proc/self/clear_refs").write_text(RESET, encoding="ascii")
    before = resident("VmRSS")
    contender.run()
    peak = resident("VmHWM")
    contender.after()
    return {"extra": (peak - before) / MB, "peak": peak / MB}


def peak_in_a_process_of_its_own(case: Case, name: str, size: Mapping[str, Any]) -> dict[str, float]:
    """Return what `peak_of` says of a contender in a fresh process."""
    folder = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="daflow-bench-") as place:
        ended = subprocess.run(
            [sys.executable, "-m", "side_by_side.memory", case.name, name, json.dumps(size), place],
            env=os.environ | {"PYTHONPATH": str(folder)},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    told: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Take the peak of one contender of one case and write it as JSON."""
    from side_by_side.cases import CASES  # noqa: PLC0415 - only the child needs them

    name, who, size, place = sys.argv[1:]
    case = next(case for case in CASES if case.name == name)
    contender = next(each for each in case.make(Path(place), **json.loads(size)) if each.name == who)
    sys.stdout.write(json.dumps(peak_of(contender)))


if __name__ == "__main__":
    main()
