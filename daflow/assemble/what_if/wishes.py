"""The branches that settings and sweeps over settings ask for: their names, their steps, what they change."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from math import prod
from typing import Final

from daflow.assemble.branching import plan_for, progress_of
from daflow.assemble.folder import RunFolder
from daflow.config.overrides import parse_override
from daflow.config.yaml_text import parse_value
from daflow.errors import ConfigError, DataError
from daflow.names import Phase

MOST_BRANCHES: Final = 64
"""A sweep of more is refused: each is an ensemble on disk."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*")
_LONGEST_NAME: Final = 100


@dataclass(frozen=True)
class Wish:
    """A branch that is asked for."""

    name: str
    step: int
    overrides: tuple[str, ...]
    """``key.sub=value``, the value in YAML."""


def wishes_of(
    run: RunFolder,
    overrides: Sequence[str],
    sweeps: Sequence[str] = (),
    *,
    step: int | None = None,
    name: str | None = None,
) -> list[Wish]:
    """Return the branches that settings and sweeps over settings ask for.

    Parameters
    ----------
    run
        The run that they branch off from.
    overrides
        ``key.sub=value``: what differs from the run's settings in all of them.
    sweeps
        ``key.sub=value,value,...``: a branch a value; of several sweeps, one for each combination.
    step
        Whose analysis; ``None``: the last step that has its forecast and is analysed.
    name
        Of the branch, or what the names of a sweep's begin with; ``None``: made from the settings.

    Raises
    ------
    daflow.errors.ConfigError
        A setting or sweep is none, or there would be more than 64 branches.
    daflow.errors.DataError
        There is no such forecast, or the name is none.
    """
    at = _step_of(run, step)
    axes = [_values_of(sweep) for sweep in sweeps]
    n_branches = prod(len(values) for _, values in axes)
    if n_branches > MOST_BRANCHES:
        raise ConfigError(
            "--sweep: too many branches",
            got=" x ".join(str(len(values)) for _, values in axes) + f" = {n_branches}",
            allowed=f"at most {MOST_BRANCHES} at once: each keeps an ensemble",
            do="sweep over fewer values, or over one setting after the other",
        )
    found = []
    for combination in product(*([f"{key}={value}" for value in values] for key, values in axes)):
        told = combination if name is not None else (*overrides, *combination)
        begin = [name] if name is not None else [f"step={at}"]
        called = ",".join([*begin, *map(_word, told)])
        found.append(Wish(_checked_name(called), at, (*overrides, *combination)))
    names = [wish.name for wish in found]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise ConfigError("--sweep: a value is given twice", got=", ".join(twice), do="give each value once")
    return found


def _step_of(run: RunFolder, step: int | None) -> int:
    """Return a step whose forecast is there."""
    progress = progress_of(run)
    there = sorted(s for phase, s in progress.survivors if phase is Phase.FORECAST)
    analysed = [s for s in there if s < plan_for(run).n_updates(progress)]
    wanted = analysed[-1] if step is None and analysed else step
    if wanted is not None and wanted in there:
        return wanted
    raise DataError(
        f"the run in {run.folder} has no complete forecast" + ("" if step is None else f" of step {step}"),
        allowed=f"steps whose forecast is complete: {', '.join(map(str, there)) or 'none so far'}",
        do="`daflow status` tells how far the run is, `daflow resume` goes on with it",
    )


def _values_of(sweep: str) -> tuple[str, list[str]]:
    key, equals, listed = sweep.partition("=")
    values = parse_value(f"[{listed}]", f"--sweep {key.strip()}") if equals else None
    if not values or not key.strip():
        raise ConfigError(
            "--sweep: not a setting with values",
            got=repr(sweep),
            allowed="key.sub=value,value,... as in localization.lengths.x=400,800",
            do="write the key, '=' and values with commas between them",
        )
    return key.strip(), [json.dumps(value) for value in values]


def _word(override: str) -> str:
    """Return a setting as a part of a name: without its section, and without what no folder is called."""
    path, value = parse_override(override)
    key = ".".join(map(str, path[1:] or path))
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", f"{key}={_flat(value)}").strip("-")


def _flat(value: object) -> str:
    """Return a value in a line: of a mapping its kind, and what else it says."""
    if isinstance(value, dict):
        return "-".join(_flat(v) if key == "kind" else f"{key}-{_flat(v)}" for key, v in value.items())
    if isinstance(value, list):
        return "-".join(map(_flat, value))
    return value if isinstance(value, str) else json.dumps(value)


def _checked_name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        mark = blake2b(name.encode(), digest_size=4).hexdigest()
        name = f"{name[: _LONGEST_NAME - len(mark) - 1]}-{mark}"
    if _NAME.fullmatch(name):
        return name
    raise DataError(
        "--name: no branch can be called so",
        got=repr(name),
        allowed="letters, digits and . _ = , + -, a letter or digit first: it is a folder's name",
        do="give another name",
    )
