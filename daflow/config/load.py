"""From a file or mapping to a `Workflow`, and back to JSON and digests; nothing else in the world changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from daflow.config.explain import Where, config_error
from daflow.config.overrides import with_overrides
from daflow.config.profiles import load_profile
from daflow.config.schema import Workflow
from daflow.config.yaml_text import KeyPath, parse_document
from daflow.errors import ConfigError

DIGEST_BYTES: Final = 16


def load_workflow(path: str | Path, overrides: Sequence[str] = (), profile: str | None = None) -> Workflow:
    """Return the workflow in a file.

    Parameters
    ----------
    path
        A YAML file. Relative paths in it start at its folder; ``${NAME}`` in a path stands for an
        environment variable.
    overrides
        Settings that take the place of the file's: ``key.sub=value``, the value in YAML.
    profile
        The name or path of a profile, whose ``execution`` takes the place of the file's before that.

    Raises
    ------
    daflow.errors.ConfigError
        The file is missing, cannot be read or is not YAML, or holds keys, values or combinations that
        cannot be used: one message for all of them, with key, what was found and what is allowed.
    """
    source, file = str(path), Path(path).absolute()
    document = parse_document(_text(file, source), source)
    placed = None if profile is None else load_profile(profile, file.parent)
    said = document.values if placed is None else placed.on(document.values)
    values, changed = with_overrides(said, overrides)

    def where(key: KeyPath) -> str:
        if any(key[: len(one)] == one or one[: len(key)] == key for one in changed):
            return " (by --set)"
        if placed is not None and (there := placed.where(key)) is not None:
            return there
        line = next(
            (document.lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in document.lines), None
        )
        return "" if line is None else f" (line {line})"

    kinds = {key[:-1]: _at(values, key) for key in changed if key[1:] and key[-1] == "kind"}
    return _validated(values, source, file.parent, where, kinds)


def workflow_from(values: Mapping[str, Any], folder: str | Path = ".", source: str = "workflow") -> Workflow:
    """Return the workflow that a mapping says, as a file's content would.

    Parameters
    ----------
    values
        What a workflow file holds: mappings, lists, texts, numbers.
    folder
        Where relative paths start.
    source
        What messages call it.

    Raises
    ------
    daflow.errors.ConfigError
        As `load_workflow`.
    """
    return _validated(values, source, Path(folder).absolute(), lambda _: "")


def from_json(text: str, source: str = "resolved.json") -> Workflow:
    """Return the workflow that `to_json` wrote; its paths are taken as they are.

    Raises
    ------
    daflow.errors.ConfigError
        The text is not such JSON, or not of this version of the schema.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}", do="restore the file: daflow wrote it") from None
    return _validated(values, source, None, lambda _: "")


def to_json(workflow: Workflow) -> str:
    """Return a workflow with every default spelled out.

    Laws: `from_json` gives back an equal workflow.
    """
    return workflow.model_dump_json(indent=2)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the workflow file: what editors check and complete it by."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | deepcopy(_schema())


@cache
def _schema() -> dict[str, Any]:
    return Workflow.model_json_schema()


def digest(json_like: object) -> str:
    """Return the blake2b digest (32 hexadecimal digits) of what JSON can say.

    Laws: the same on every machine and day; the order of keys counts, for that of ``parameters`` is theirs
    along ``state``, and sections are always written in the order of the schema.
    """
    canonical = json.dumps(json_like, separators=(",", ":"), allow_nan=False)
    return blake2b(canonical.encode(), digest_size=DIGEST_BYTES).hexdigest()


def starter_text() -> str:
    """Return a first workflow file, small, with comments: it runs in seconds."""
    return files("daflow.config").joinpath("starter.yaml").read_text(encoding="utf-8")


def _text(file: Path, source: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        do = "check the path, or make a first workflow with 'daflow init'"
        raise ConfigError(f"{source}: there is no such file", got=str(file), do=do) from None
    except IsADirectoryError:
        raise ConfigError(f"{source}: a folder, not a file", do="name the YAML file in it") from None
    except UnicodeDecodeError as error:
        what = f"{source}: not text: byte {error.start} is not UTF-8"
        raise ConfigError(what, do="name a YAML file, saved as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise ConfigError(
            f"{source}: cannot be read: {error}", do="check the path and its permissions"
        ) from None


def _at(values: Any, key: KeyPath) -> object:
    for part in key:
        values = values[part]
    return values


def _validated(
    values: Mapping[str, Any],
    source: str,
    folder: Path | None,
    where: Where,
    kinds: Mapping[KeyPath, object] | None = None,
) -> Workflow:
    # By way of JSON: its strict mode takes lists for tuples and texts for paths, but no text for a number.
    context = None if folder is None else {"folder": folder}
    try:
        text = json.dumps(values)
    except (TypeError, ValueError, RecursionError) as error:
        do = "use mappings, lists, texts, numbers, true, false and null only"
        raise ConfigError(f"{source}: a value that no file can hold: {error}", do=do) from None
    try:
        return Workflow.model_validate_json(text, strict=True, context=context)
    except ValidationError as error:
        raise config_error(error.errors(include_url=False), _schema(), source, where, kinds) from None
