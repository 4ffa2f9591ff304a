"""Settings given beside the file: ``key.sub=value``, on what the file says and before it is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic_core import PydanticUndefined

from daflow.config.schema import Workflow
from daflow.config.yaml_text import KeyPath, parse_value
from daflow.errors import ConfigError

FORM: Final = "key.sub=value, as in ensemble.size=50"
NOTHING: Final = "none"
"""The word that stands in the place of a mapping where there is to be none."""


def parse_override(text: str) -> tuple[KeyPath, Any]:
    """Return the key and the value of ``key.sub=value``; the value is YAML.

    Raises
    ------
    daflow.errors.ConfigError
        There is no ``=``, no key, or the value is not YAML.
    """
    dotted, equals, value = text.partition("=")
    parts = [part.strip() for part in dotted.split(".")]
    if not equals or not all(parts):
        raise ConfigError(
            "--set: not a setting", got=repr(text), allowed=FORM, do="write the key, '=' and the value"
        )
    return tuple(parts), parse_value(value, f"--set {dotted.strip()}")


def with_overrides(
    values: Mapping[str, Any], overrides: Iterable[str]
) -> tuple[dict[str, Any], list[KeyPath]]:
    """Return a copy of what a file says with these settings in place, and the keys that were set.

    A section that the file leaves out, or says to be `none`, is started from its default kind. Whether a
    key is known and a value fits is found out with the rest of the workflow. Later settings win over
    earlier ones.

    Raises
    ------
    daflow.errors.ConfigError
        A setting cannot be read, or its key leads through a value that has no keys.
    """
    changed = deepcopy(dict(values))
    keys: list[KeyPath] = []
    for text in overrides:
        path, value = parse_override(text)
        keys.append(_set(changed, path, value))
    return changed, keys


def _set(values: dict[str, Any], path: KeyPath, value: object) -> KeyPath:
    here: Any = values
    for depth, part in enumerate(path):
        step = _step(here, part, ".".join(map(str, path)))
        path = (*path[:depth], step, *path[depth + 1 :])
        if depth == len(path) - 1:
            here[step] = value
        elif isinstance(here, dict) and here.get(step) in (None, NOTHING):
            here[step] = _default_kind(str(step)) if depth == 0 else {}
        here = here[step]
    return path


def _step(here: object, part: str | int, dotted: str) -> str | int:
    if isinstance(here, dict):
        return part
    if not isinstance(here, list):
        what = f"--set {dotted}: {part!r} lies below a value that has no keys"
        raise ConfigError(what, got=repr(here), do="set the key above it")
    if not (isinstance(part, str) and part.isdigit() and int(part) < len(here)):
        what = f"--set {dotted}: {part!r} is no entry of the list"
        raise ConfigError(what, allowed=f"0 to {len(here) - 1}", do="set the whole list: key=[1, 2]")
    return int(part)


def _default_kind(section: str) -> dict[str, Any]:
    """Return the kind that a section has where the file does not speak of it."""
    field = Workflow.model_fields.get(section)
    default = PydanticUndefined if field is None else field.default
    kind = getattr(default, "kind", None)
    return {} if kind is None else {"kind": kind}
