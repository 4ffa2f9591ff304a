"""An external program as the forward model."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from daflow.config.external_models import PLACEHOLDER_PATTERN, CommandSettings
from daflow.errors import ConfigError, MemberError, MemberLost, ModelFailed, PoolError, StoreError
from daflow.models.attempt_directory import attempt_directory
from daflow.models.input_files import prepare_input_file
from daflow.models.process import check_ending, run_command
from daflow.models.readers import prepare_reader
from daflow.models.resources import NOBODY_SAID, Resources, as_ended
from daflow.models.user_functions import table_of_observables
from daflow.ports import FloatArray, MemberInput, ObservationTable

FULL_DISK_BYTES: Final = 1 << 20
"""With less free than this, a member that failed is not to blame, unless it holds `OWN_SHARE` of the disk."""
OWN_SHARE: Final = 0.25
"""A member whose own directory holds more of the whole disk has filled it itself: more would not fit."""
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
ROOM_SECONDS: Final = 5.0
"""How long a full disk may take to have room again, as when the member that filled it is removed."""


class Command:
    """A model that writes files, runs a program in the member's own directory, and reads what it wrote.

    Laws: members share no file, so any number of them may run at once; nothing that the program starts
    outlives it, its timeout, or the worker; what it wrote is checked before it counts; only variables that
    its files ask for are read from the store.

    Parameters
    ----------
    settings
        The section of the workflow file.
    resources
        What each forecast has to run on.
    elsewhere
        Whether forecasts run on other machines than this: their modules and containers bring the program,
        which is looked for there, when one begins.

    Raises
    ------
    daflow.errors.InputError
        The program is not found, unless it is to run elsewhere; or a file or function that the settings name
        is missing or unusable.
    """

    def __init__(
        self, settings: CommandSettings, resources: Resources = NOBODY_SAID, *, elsewhere: bool = False
    ) -> None:
        self.settings = settings
        self._resources, self._elsewhere = resources, elsewhere
        self._program = None if elsewhere else find_program(settings)
        self._files = tuple(prepare_input_file(entry) for entry in settings.files)
        self._read = prepare_reader(settings.output, settings.folder)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as settings: files and functions are opened where they arrive."""
        return partial(type(self), elsewhere=self._elsewhere), (self.settings, self._resources)

    @property
    def variables(self) -> frozenset[str]:
        """The names of the variables that the program's files ask for."""
        return frozenset[str]().union(*(file.variables for file in self._files))

    def observables(self) -> ObservationTable:
        """Return the table of the user's ``observables`` function."""
        return table_of_observables(self.settings.observables, self.settings.folder, {}, self.settings.kind)

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``.

        ``given.work_dir`` is gone afterwards unless the settings keep it.
        """
        with attempt_directory(given.work_dir, self.settings.keep):
            return self._forecast(given)

    def _forecast(self, given: MemberInput) -> FloatArray:
        settings = self.settings
        try:
            for file in self._files:
                path = given.work_dir / file.target
                path.parent.mkdir(parents=True, exist_ok=True)
                file.write(path, given)
        except OSError as problem:
            if problem.errno in NO_ROOM and _room_again(given.work_dir.parent):
                raise MemberLost("the disk was full for a moment, before the model began") from problem
            raise StoreError(
                f"{problem.filename or given.work_dir}: the model's files cannot be written",
                got=problem.strerror or problem,
                do="make room there or give the right to write, then resume",
            ) from problem
        places = _places(settings, given) | self._resources.places()
        launched = self._resources.launched()
        program = self._program or _found_here(settings)
        argv = [*launched, program, *(_fill(text, places) for text in settings.command[1:])]
        added = {name: _fill(text, places) for name, text in settings.environment.items()}
        ending = run_command(
            argv,
            work_dir=given.work_dir,
            log_dir=given.log_dir,
            environment=os.environ | self._resources.environment() | added,
            timeout=settings.timeout,
        )
        if launched:
            ending = as_ended(ending)
        try:
            check_ending(ending, settings.command[0], settings.success_codes, settings.timeout, given.log_dir)
            return self._read(given.work_dir, given.log_dir, given.observations)
        except (MemberError, FileNotFoundError) as problem:
            if not given.work_dir.is_dir():
                raise MemberLost("its directory was removed while it ran", got=problem) from problem
            if isinstance(problem, MemberError):
                _blame_a_full_disk(given.work_dir, ending.least_bytes_free, problem)
            raise


def _blame_a_full_disk(work_dir: Path, least_free: int, problem: MemberError) -> None:
    """Raise what a failure on a full disk really is: the member's own, another's, or the disk's.

    A program that finds the disk full fails, or cuts its output short. One that filled it itself would do so
    again: it failed, and what it wrote is removed at once, whatever the settings keep. Where there is room
    again a moment later it was another's doing: tried again. Else the disk is full: the run stops.
    """
    # It may have been full only while the program ran: whoever filled it was removed meanwhile.
    if min(least_free, _free(work_dir)) >= FULL_DISK_BYTES:
        return
    own, total = _bytes_in(work_dir), shutil.disk_usage(work_dir).total
    if own > OWN_SHARE * total:
        shutil.rmtree(work_dir, ignore_errors=True)
        raise ModelFailed(
            f"it filled the disk; {problem.what}",
            got=f"{own / 1e6:.1f} MB in its own directory, now removed, on a disk of {total / 1e6:.1f} MB",
            do="let it write less, or run it on a larger disk",
        ) from problem
    if _room_again(work_dir):
        raise MemberLost(f"the disk was full for a moment; {problem.what}") from problem
    raise StoreError(
        f"{work_dir}: the disk is full, and the model failed there",
        got=f"{_free(work_dir)} bytes free, {own} in the member's own directory; {problem.what}",
        do="make room there, then resume",
    ) from problem


def _room_again(place: Path) -> bool:
    """Wait a little; return whether a full disk has room by then."""
    until = time.monotonic() + ROOM_SECONDS
    while time.monotonic() < until:
        if _free(place) >= FULL_DISK_BYTES:
            return True
        time.sleep(0.1)
    return False


def _free(place: Path) -> int:
    return shutil.disk_usage(place).free


def _bytes_in(folder: Path) -> int:
    """Return what the files in a folder take up on the disk."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            found += path.lstat().st_blocks * 512
    return found


def _places(settings: CommandSettings, given: MemberInput) -> dict[str, str]:
    return {
        "member": str(given.member),
        "step": str(given.step),
        "seed": str(given.seed),
        "work_dir": str(given.work_dir.resolve()),
        "log_dir": str(given.log_dir.resolve()),
        "folder": str(settings.folder.resolve()),
    }


def _fill(text: str, places: Mapping[str, str]) -> str:
    return PLACEHOLDER_PATTERN.sub(lambda found: places[found[1]] if found[1] else found[0][0], text)


def _found_here(settings: CommandSettings) -> str:
    try:
        return find_program(settings)
    except ConfigError as problem:
        raise PoolError(
            f"{problem.what} on {platform.node()}",
            got=problem.got,
            allowed=problem.allowed,
            do="install it there, or let execution.prologue or a container bring it; then resume",
        ) from problem


def find_program(settings: CommandSettings) -> str:
    """Return the program's absolute path; a relative path starts at the workflow's folder.

    Raises
    ------
    daflow.errors.ConfigError
        It is not on this machine, or cannot be run.
    """
    folder, given = settings.folder.resolve(), settings.command[0]
    places = {"folder": str(folder)}
    if any(found[1] not in (None, *places) for found in PLACEHOLDER_PATTERN.finditer(given)):
        raise ConfigError(
            "model.command: the program cannot differ between members",
            got=given,
            allowed="{folder} as the only placeholder in the program's path",
            do="call a script that chooses, with {member} among its arguments",
        )
    program = _fill(given, places)
    is_path = os.sep in program
    looked_for = str(folder / program) if is_path else program
    path = settings.environment.get("PATH", os.environ.get("PATH", ""))
    found = shutil.which(looked_for, path=path)
    if found is None:
        there = is_path and Path(looked_for).exists()
        raise ConfigError(
            f"model.command: {looked_for} " + ("is not executable" if there else "not found"),
            got=given,
            allowed="an executable file" if is_path else f"a program in one of {path}",
            do=f"chmod +x {looked_for}" if there else "install it, load its module, or correct the name",
        )
    return str(Path(found).absolute())
