"""A user's own Python functions: found by ``module:function``, called with what they accept."""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from daflow.config.section import nearest
from daflow.errors import ConfigError, MemberError, ModelFailed, StoreError
from daflow.models.printed import Printed
from daflow.ports import ObservationTable

TRACEBACK: Final = "traceback.txt"
_IMPORTING = threading.Lock()
_CHANGED: dict[Path, int] = {}
"""When the users' modules were last changed, as of their import."""


def load_function(name: str, folder: Path, key: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names; ``key`` is the setting that names it.

    ``folder`` comes first on ``sys.path`` and stays there, for what the module imports later. A module of
    that name from another folder, as an earlier workflow in this process may have left it, gives way, and so
    does what the module was before it was edited.

    Raises
    ------
    daflow.errors.ConfigError
        The module is not found or cannot be imported, or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    with _IMPORTING:
        module = _import_from(module_name, folder.resolve(), key)
    function = getattr(module, function_name, None)
    if not callable(function):
        offered = [
            found for found, what in vars(module).items() if callable(what) and not found.startswith("_")
        ]
        near = nearest(function_name, offered)
        raise ConfigError(
            f"{key}: module {module_name!r} ({module.__file__}) has no function {function_name!r}",
            got=name,
            allowed=", ".join(sorted(offered)) or "the module offers no function",
            do=f"write '{module_name}:{near}'" if near else "name a function that the module defines",
        )
    loaded: Callable[..., Any] = function
    return loaded


def _import_from(name: str, folder: Path, key: str) -> ModuleType:
    place = str(folder)
    if place in sys.path:
        sys.path.remove(place)
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    _forget_namesake(name.partition(".")[0], folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise ConfigError(
                f"{key}: module {name!r} imports {problem.name!r}, which is not installed here",
                do=f"install {problem.name!r} into the environment of driver and workers: {sys.executable}",
            ) from problem
        beside = sorted(path.stem for path in folder.glob("*.py")) if folder.is_dir() else []
        near = nearest(name, beside)
        raise ConfigError(
            f"{key}: no module {name!r} in {folder} nor installed",
            allowed=", ".join(beside) or None,
            do=f"did you mean {near!r}?" if near else f"put {name.replace('.', '/')}.py into that folder",
        ) from problem
    except Exception as problem:  # a module may do anything when it is imported
        raise ConfigError(
            f"{key}: module {name!r} cannot be imported",
            got=f"{type(problem).__name__}: {problem}{_line_in(problem, folder)}",
            do=f"mend it until this works: cd {folder} && python -c 'import {name}'",
        ) from problem


def _forget_namesake(name: str, folder: Path) -> None:
    """Drop a loaded module that has the name of one in ``folder`` but is not (or no longer) it."""
    here = [path for path in (folder / f"{name}.py", folder / name / "__init__.py") if path.is_file()]
    if not here:
        return
    loaded, changed = sys.modules.get(name), here[0].stat().st_mtime_ns
    if loaded is not None:
        from_here = loaded.__file__ is not None and Path(loaded.__file__).resolve() in here
        if not from_here or _CHANGED.get(here[0], changed) != changed:
            for known in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
                del sys.modules[known]
    _CHANGED[here[0]] = changed


def _line_in(problem: BaseException, folder: Path) -> str:
    if isinstance(problem, SyntaxError):
        return ""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if str(folder) in frame.filename]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def accepted_keywords(
    function: Callable[..., Any],
    *,
    positional: int,
    offered: tuple[str, ...],
    asked: Mapping[str, Any],
    key: str,
) -> tuple[str, ...]:
    """Return which of the keywords on offer a function takes, after so many positional arguments.

    ``asked`` are the keywords that the user wants passed.

    Raises
    ------
    daflow.errors.ConfigError
        One of ``asked`` is not accepted, or an argument without a default would get no value.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as problem:
        raise ConfigError(
            f"{key}: the function's arguments cannot be inspected", do="wrap it in a 'def' function"
        ) from problem
    takes = signature.parameters.values()
    anything = any(one.kind is one.VAR_KEYWORD for one in takes)
    names = {one.name for one in takes if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    if clash := sorted(set(asked) & set(offered)):
        raise ConfigError(
            f"{key}: arguments {clash} are given by daflow itself", do="choose another name for them"
        )
    passed = tuple(name for name in offered if anything or name in names)
    try:
        signature.bind(*range(positional), **dict.fromkeys((*passed, *asked)))
    except TypeError as problem:
        raise ConfigError(
            f"{key}: the function cannot be called so: {problem}",
            got=f"def {getattr(function, '__name__', 'function')}{signature}",
            allowed=f"{positional} positional arguments; keywords {', '.join((*offered, *asked))}",
            do="correct the function's arguments or 'arguments' in the workflow file",
        ) from problem
    return passed


def call_for_member(function: Callable[[], Any], name: str, log_dir: Callable[[], Path]) -> object:
    """Return what a user's function returns; turn what it raises into `ModelFailed`.

    The traceback, and what is printed, are kept in the folder that ``log_dir`` returns, asked for only then.
    Errors of members and of the store, and lack of memory, pass as they are.
    """
    try:
        with Printed(log_dir):
            return function()
    except (MemberError, StoreError, MemoryError):
        raise
    except (Exception, SystemExit) as problem:
        # The frame of this call itself tells the user nothing.
        problem.__traceback__ = problem.__traceback__ and problem.__traceback__.tb_next
        text = "".join(traceback.format_exception(problem))
        (log_dir() / TRACEBACK).write_text(text, encoding="utf-8")
        frames = traceback.extract_tb(problem.__traceback__)
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
        raise ModelFailed(
            f"{name} raised {type(problem).__name__}: {problem}{where}",
            do=f"see {TRACEBACK} in the member's logs: daflow logs RUN --member N",
        ) from problem


def table_of_observables(
    name: str | None, folder: Path, arguments: Mapping[str, Any], kind: str
) -> ObservationTable:
    """Return the table that the user's function ``name`` makes of all that can be observed.

    It is called with those of ``arguments`` that it accepts.

    Raises
    ------
    daflow.errors.ConfigError
        There is no such function, it failed, or what it returned is not columns of equal length.
    """
    key = "model.observables"
    if name is None:
        raise ConfigError(
            f"{key}: a twin experiment needs to know what a '{kind}' model can observe",
            do="name a function 'module:function' that returns the table, or give observations from a file",
        )
    function = load_function(name, folder, key)
    passed = accepted_keywords(function, positional=0, offered=tuple(arguments), asked={}, key=key)
    try:
        columns = {
            str(column): np.atleast_1d(np.asarray(values))
            for column, values in dict(function(**{one: arguments[one] for one in passed})).items()
        }
    except Exception as problem:
        raise ConfigError(
            f"{key}: {name} did not return a table",
            got=f"{type(problem).__name__}: {problem}",
            allowed="a mapping of column name -> array (n_obs,), or a pandas DataFrame",
        ) from problem
    lengths = {column: values.shape for column, values in columns.items()}
    if len(set(lengths.values())) != 1 or len(next(iter(lengths.values()))) != 1:
        raise ConfigError(
            f"{key}: {name} returned columns of different shapes", got=lengths, allowed="one length (n_obs,)"
        )
    return columns
