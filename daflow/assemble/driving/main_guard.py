"""Scripts that drive runs, looked at before they start workers."""

from __future__ import annotations

import ast
import sys
from multiprocessing import current_process
from pathlib import Path
from types import FrameType
from typing import Final

from daflow.config.execution import ExecutionSettings, LocalExecution
from daflow.errors import ConfigError

_MAIN: Final = ("<module>", "__main__")
CURE: Final = "put what the script does under: if __name__ == '__main__':"


def check_main_guard(execution: ExecutionSettings) -> None:
    """Refuse a script that would begin its run anew in each worker that it starts.

    Workers of this machine are started by multiprocessing, which imports the main script in each of them.
    What stands there outside of ``if __name__ == "__main__":`` is done again. Workers elsewhere import none.

    Raises
    ------
    daflow.errors.ConfigError
        The main script has come here by a statement outside of such a guard, or a worker imports it.
    """
    if not isinstance(execution, LocalExecution):
        return
    if getattr(current_process(), "_inheriting", False):
        raise ConfigError("a run began anew while its worker started", do=CURE)
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - nothing else tells who called
    while frame is not None and (frame.f_code.co_name, frame.f_globals.get("__name__")) != _MAIN:
        frame = frame.f_back
    if frame is None:
        return
    script, line = Path(frame.f_code.co_filename), frame.f_lineno
    # A package that is run is not imported again, nor is what has no file.
    if script.name != "__main__.py" and not _is_guarded(script, line):
        raise ConfigError(
            f"{script}, line {line}: the run would begin anew in each of its workers, which import it",
            do=CURE,
        )


def _is_guarded(script: Path, line: int) -> bool:
    try:
        statements = ast.parse(script.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return True
    here = [node for node in statements if node.lineno <= line <= (node.end_lineno or node.lineno)]
    return all(isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in here)
