"""Read YAML as its 1.2 core schema has it: no dates, no base 60, no yes and no, and no key twice.

By the older schema ``1e-3`` is a text, ``12:30`` is 750, ``NO`` is false and a repeated key silently wins:
each of these changes numbers behind the user's back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from daflow.errors import ConfigError

MOST_NODES: Final = 100_000
"""No workflow needs so many values; aliases of aliases of aliases would make a billion."""
MOST_DEPTH: Final = 50
RESOLVERS: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("merge", r"<<", "<"),
)


class _CoreLoader(yaml.SafeLoader):
    """A SafeLoader with the plain values of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's name


def _whole_number(loader: _CoreLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


for _tag, _pattern, _first in RESOLVERS:
    _starts = [*_first, ""] if _tag == "null" else [*_first]
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts)
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping read from YAML, and the line (from 1) on which each of its keys stands."""

    values: dict[str, Any]
    lines: Mapping[KeyPath, int]


def parse_document(text: str, source: str) -> Document:
    """Return what a YAML text says.

    Raises
    ------
    daflow.errors.ConfigError
        It is not YAML, empty, no mapping, too large, names a key twice, or holds a tag.
    """
    node, values = _parse(text, source)
    if node is None or values is None:
        raise ConfigError(
            f"{source}: the file is empty", do="write a workflow: 'daflow init' makes a first one"
        )
    if not isinstance(node, yaml.MappingNode):
        got, do = _form(node), "start each line at the left with a key: 'name: my-run'"
        raise ConfigError(f"{source}: not a mapping of keys to values", got=got, do=do)
    return Document(values, dict(_lines(node, source)))


def parse_value(text: str, source: str) -> Any:
    """Return the value that a piece of YAML says."""
    return _parse(text, source)[1]


def _parse(text: str, source: str) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _CoreLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                for _ in _lines(node, source):  # keys twice and endless aliases, before anything is built
                    pass
            return node, None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        what = f"{source}{where}: not YAML: {error.problem or error.context}"
        tab = (
            mark is not None
            and mark.buffer is not None
            and mark.buffer[mark.pointer : mark.pointer + 1] == "\t"
        )
        do = "indent by spaces: YAML takes no tabs" if tab else "look there for a colon, quote or indent"
        raise ConfigError(what, do=do) from None
    except yaml.reader.ReaderError as error:
        what = f"{source}: not YAML: character {error.position} is not text"
        raise ConfigError(what, do="save the file as UTF-8 text") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{source}: nested too deep, or a number too long", do="make it simpler") from None


def _lines(root: yaml.Node, source: str) -> Iterator[tuple[KeyPath, int]]:
    stack: list[tuple[KeyPath, yaml.Node]] = [((), root)]
    n_nodes = 0
    while stack:
        path, node = stack.pop()
        n_nodes += 1
        if n_nodes > MOST_NODES or len(path) > MOST_DEPTH:
            allowed = f"{MOST_NODES} values, {MOST_DEPTH} deep"
            raise ConfigError(f"{source}: too large, or an alias holds itself", allowed=allowed)
        yield path, node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            stack += [((*path, i), child) for i, child in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, child in node.value:
                name = _key(key, source)
                line = key.start_mark.line + 1
                if name in seen:
                    where = ".".join(map(str, (*path, name)))
                    what = f"{source}: {where}: the key stands twice, on lines {seen[name]} and {line}"
                    raise ConfigError(what, do="delete one of them")
                seen[name] = line
                stack.append(((*path, name), child))
                yield (*path, name), line


def _key(node: yaml.Node, source: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag not in {
        "tag:yaml.org,2002:str",
        "tag:yaml.org,2002:merge",
    }:
        what = f"{source}, line {node.start_mark.line + 1}: a key must be a word"
        got = node.value if isinstance(node, yaml.ScalarNode) else _form(node)
        number = node.tag in {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
        do = "a decimal has a point (0.5), no comma; a key that looks so is put in quotes"
        raise ConfigError(what, got=got or "nothing", do=do if number else "name it, or put it in quotes")
    name: str = node.value
    return name


def _form(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
