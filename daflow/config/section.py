"""What every section of a workflow file has in common."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from daflow.names import MEMBER, OBS, STATE

REFUSED: Final = "refused"
"""The type of the pydantic errors that `refuse` makes."""
RESERVED_NAMES: Final = (MEMBER, STATE, OBS)
"""The dimensions of the store: no variable and no dimension of the user's may be called so."""
ENVIRONMENT_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a section."""

    key: str
    """The key within the section, with dots between its parts; empty: the section itself."""
    what: str
    got: object = None
    allowed: object = None

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        got = "" if self.got is None else f"; got {self.got}"
        return where + self.what + got + ("" if self.allowed is None else f"; allowed: {self.allowed}")


def refuse(problems: Iterable[Problem]) -> None:
    """Raise what pydantic reports as these problems of the section being validated; none: do nothing."""
    found = tuple(problems)
    if found:
        text = " | ".join(map(str, found))
        raise PydanticCustomError(REFUSED, "{text}", {"text": text, "problems": found})


class Section(BaseModel):
    """A part of the workflow file: frozen, every key known, every value checked and finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def _problems(self) -> Iterable[Problem]:
        """Return what is wrong with the section as a whole, each value being right by itself."""
        return ()

    @model_validator(mode="after")
    def _is_right(self) -> Self:
        refuse(self._problems())
        return self


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one was most likely meant to be, if any comes close."""
    by_lower_case = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[near[0]] if near else None


def _expand(path: Path) -> Path:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in os.environ:
            what = f"the environment variable {name!r} is not set: set it, or write the path out"
            refuse([Problem("", what, got=str(path))])
        return os.environ[name]

    return Path(ENVIRONMENT_VARIABLE.sub(value, str(path)))


def _beside_the_workflow(path: Path, info: ValidationInfo) -> Path:
    folder: Path | None = (info.context or {}).get("folder")
    if folder is None:
        return path
    path = _expand(path)
    if path.parts[:1] == ("~",):
        refuse([Problem("", "'~' means nothing here: write ${HOME}", got=str(path))])
    return folder / path


def _as_text(path: object) -> object:
    return str(path) if isinstance(path, Path) else path


# As text first: a file is read strictly, and a default is a Path where the file has text.
InputPath = Annotated[Path, BeforeValidator(_as_text), AfterValidator(_beside_the_workflow)]
"""A path in a workflow file; a relative one starts at the workflow file's folder.

``${NAME}`` stands for an environment variable. Validation only resolves the path (where the context has a
``folder``; without one it is kept as it is); who reads it checks that something is there.
"""


def _a_name(name: str) -> str:
    if not name.isidentifier():
        what = "a name is made of letters, digits and underscores, and starts with no digit"
        refuse([Problem("", what, got=repr(name))])
    if name in RESERVED_NAMES:
        what = f"the name {name!r} belongs to a dimension of every store: choose another"
        refuse([Problem("", what)])
    return name


Name = Annotated[str, AfterValidator(_a_name)]
"""The name of a variable, a dimension or a grid: an identifier that no dimension of the store has."""
Positive = Annotated[float, Field(gt=0)]


def kind_of_value(value: object) -> str:
    """Return what a value of the file is: for keys whose forms are told apart by that, not by ``kind``."""
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else "truth value"
    named = {str: "word", int: "number", float: "number", list: "list", tuple: "list"}
    return next((name for kind, name in named.items() if isinstance(value, kind)), "mapping")
