"""Runs and branches of them, driven in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import daflow
from daflow.assemble import worker
from daflow.assemble.folder import RunFolder, open_folder
from daflow.assemble.what_if.branches import analyse, make_branches
from daflow.assemble.what_if.wishes import wishes_of
from daflow.execution.pools.inline_pool import InlinePool
from daflow.records import Outcome, Task


def never(task: Task) -> bool:
    """Let workers live."""
    return False


def pool_of(done: list[Task], dies: Callable[[Task], bool] = never):
    """Return what calls workers that are this process, which end at the first task that is deadly."""

    @contextmanager
    def pool(run: RunFolder, *given: object) -> Iterator[InlinePool]:
        def work(tasks: Sequence[Task]) -> list[Outcome]:
            if any(map(dies, tasks)):
                raise KeyboardInterrupt
            done.extend(tasks)
            return worker.work(str(run.folder), tasks)

        worker._built.cache_clear()
        yield InlinePool(work)

    return pool


def branch(folder: Path, *overrides: str, step: int | None = None, name: str | None = None) -> daflow.Run:
    """Make a branch and do its analysis."""
    run = open_folder(folder)
    (made,) = make_branches(run, wishes_of(run, overrides, step=step, name=name))
    assert analyse(made).kind in {"analysed", "finished"}
    return daflow.open_run(made.folder)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return what every file of a run says, its branches left out."""
    return {
        str(path.relative_to(folder)): blake2b(path.read_bytes()).digest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "branches" not in path.relative_to(folder).parts
    }
