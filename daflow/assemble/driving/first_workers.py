"""Workers are waited for, and looked at before they are asked for anything."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

from daflow.assemble.folder import RunFolder
from daflow.assemble.sections.build import uses_watchdog
from daflow.assemble.sections.storage_place import reached
from daflow.errors import ConfigError, PoolError
from daflow.execution.pools.crews import Crew

PATIENCE_SECONDS: Final = 120.0
"""How long the first worker is waited for while none is on the way."""
POLL_SECONDS: Final = 0.2
TELL_SECONDS: Final = 30.0
"""How often it is said what is waited for."""
FIRST_SECONDS: Final = 10.0
"""When it is first said."""
ANSWER_SECONDS: Final = 20.0
"""How long all workers have for an answer before each is asked by itself, and the others once one has."""
SLOW_SECONDS: Final = 300.0
"""How long the first answer may take: a worker's first import from a busy shared disk takes minutes."""
ALIKE: Final = ("daflow", "dask", "distributed", "numpy", "zarr")
"""Packages of which driver and workers need the same version: they read what the other wrote."""

log = logging.getLogger(__name__)


def check_workers(run: RunFolder, crew: Crew) -> None:
    """Wait for the first worker, then see that workers can do what the workflow asks.

    As long as jobs wait in a queue, so does the run.

    Raises
    ------
    daflow.errors.PoolError
        There is no worker and none on the way, or workers have other versions or no run folder.
    daflow.errors.ConfigError
        Workers cannot do what the workflow asks.
    """
    try:
        _check(run, crew)
    except OSError as error:
        raise PoolError(
            "the dask scheduler cannot be reached",
            got=str(error),
            do="start it again, then `daflow resume` the run",
        ) from error


def _check(run: RunFolder, crew: Crew) -> None:
    _await_one(crew, len(run.workflow.ensemble.members))
    threads = crew.client.nthreads()
    if uses_watchdog(run.workflow) and any(n > 1 for n in threads.values()):
        raise ConfigError(
            "policy.timeout: workers with several threads cannot time a model that runs inside them",
            got=f"{max(threads.values())} threads a worker",
            allowed="workers with one thread (`dask worker --nthreads 1`), or a model of kind command",
        )
    seen = _asked(run, crew)
    blind = sorted(address for address, facts in seen.items() if not facts["folder"])
    if blind:
        hosts = ", ".join(sorted({str(seen[address]["host"]) for address in blind})[:3])
        raise PoolError(
            "workers do not see the run folder",
            got=f"{run.folder} is not there on {hosts} ({', '.join(blind[:3])})",
            allowed="a folder on a disk that the driver and all workers share",
            do="put the run on a shared disk, then run it there",
        )
    _check_versions(seen)
    _check_store(run, crew)


def _await_one(crew: Crew, n_wanted: int) -> None:
    alone, told, said = time.monotonic(), time.monotonic() - TELL_SECONDS + FIRST_SECONDS, ""
    while not crew.client.nthreads():
        crew.tend(n_wanted)
        awaited, now = crew.awaited(), time.monotonic()
        if awaited:
            alone = now
            if awaited != said and now - told > TELL_SECONDS:
                log.warning("waiting for the first worker: %s", awaited)
                said, told = awaited, now
        elif now - alone > PATIENCE_SECONDS:
            raise PoolError(
                "there are no workers",
                got=f"none came within {PATIENCE_SECONDS:.0f} s, and none is on the way",
                do="see what keeps them from starting or from reaching the scheduler's address, then "
                "`daflow resume` the run",
            )
        time.sleep(POLL_SECONDS)


def of_this_worker(folder: str) -> dict[str, Any]:
    """Return what a worker has and sees: called there."""
    return {
        "folder": Path(folder).is_dir(),
        "host": platform.node(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ALIKE},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _asked(run: RunFolder, crew: Crew) -> Mapping[str, Mapping[str, Any]]:
    try:
        return _answers(crew, of_this_worker, str(run.folder))
    except (ImportError, AttributeError) as error:
        raise PoolError(
            "workers have no daflow, or another one than the driver's",
            got=f"{type(error).__name__}: {error}",
            allowed=f"daflow {_version('daflow')}, as here",
            do="install it there, or name their Python by execution.python, container or prologue",
        ) from error


def _answers(crew: Crew, question: Callable[..., Any], *about: Any) -> Mapping[str, Any]:
    """Return what workers answer, by their address; those that end meanwhile are not missed: others come.

    Nor is one that hangs, as long as others answer: nobody waits until its scheduler gives it up.
    """
    said = _said(crew, question, about)
    if said is None:
        raise PoolError(
            "no worker answers",
            got=f"nothing within {SLOW_SECONDS:.0f} s from {len(crew.client.nthreads())} workers",
            do="see whether they hang, or end them: others are waited for by `daflow resume`",
        )
    answers = {}
    for address, answer in said.items():
        # A connection that broke bears no number of the operating system's; what a file system said would.
        if isinstance(answer, OSError) and answer.errno is None:
            continue
        if isinstance(answer, Exception):
            raise answer
        answers[address] = answer
    return answers


def _said(crew: Crew, question: Callable[..., Any], about: Sequence[Any]) -> dict[str, Any] | None:
    """Ask all workers at once, and where that takes long each by itself; return what was said, None: nothing.

    Raises
    ------
    OSError
        The scheduler cannot be asked.
    """
    heard: SimpleQueue[Mapping[str, Any] | Exception] = SimpleQueue()

    def ask(workers: list[str] | None) -> None:
        try:
            heard.put(crew.client.run(question, *about, workers=workers, on_error="return"))
        except Exception as error:  # noqa: BLE001 - told where it was asked for
            heard.put(error)

    def ask_apart(workers: list[str] | None) -> None:
        # Nobody can take a question back: a thread whose worker hangs ends with that, or with the process.
        Thread(target=ask, args=(workers,), name="daflow-question", daemon=True).start()

    began = time.monotonic()
    ask_apart(None)
    said = _next(heard, ANSWER_SECONDS)
    if said is not None:
        return said
    log.warning("waiting for the first answer of a worker")
    asked: set[str] = set()
    until = began + SLOW_SECONDS
    while time.monotonic() < until and not (said and asked <= said.keys()):
        others = crew.client.nthreads().keys() - asked
        for address in sorted(others):
            ask_apart([address])
        asked |= others
        answer = _next(heard, POLL_SECONDS)
        if answer is not None:
            said = {**(said or {}), **answer}
            until = min(until, time.monotonic() + ANSWER_SECONDS)
    return said


def _next(heard: SimpleQueue[Mapping[str, Any] | Exception], seconds: float) -> dict[str, Any] | None:
    try:
        answer = heard.get(timeout=seconds)
    except Empty:
        return None
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)


def _check_versions(seen: Mapping[str, Mapping[str, Any]]) -> None:
    """See that workers run by what the driver runs by; of Python the first two numbers count."""
    here = of_this_worker("")
    for facts in seen.values():
        others = [name for name in ALIKE if facts[name] != here[name]]
        if facts["python"].split(".")[:2] != here["python"].split(".")[:2]:
            others = ["python", *others]
        if others:
            raise PoolError(
                "workers run by other versions than the driver",
                got=f"on {facts['host']}: " + ", ".join(f"{name} {facts[name]}" for name in others),
                allowed=", ".join(f"{name} {here[name]}" for name in others),
                do="let both use the same environment: execution.python, container or prologue",
            )


def _check_store(run: RunFolder, crew: Crew) -> None:
    """See that workers reach the object store, if there is one: they have credentials of their own."""
    storage = run.workflow.storage
    if not isinstance(storage.path, str):
        return
    said: Mapping[str, str] = _answers(crew, reached, storage)
    away = {address: why for address, why in said.items() if why}
    if away:
        address, why = min(away.items())
        raise PoolError(
            f"workers do not reach {storage.path}, which the driver does",
            got=f"{len(away)} of {len(said)}; the one at {address}: {why}",
            allowed="the network and the credentials that the driver has",
            do="give the workers the same environment, or the same files of credentials; then resume the run",
        )
