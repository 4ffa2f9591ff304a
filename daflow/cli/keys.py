"""``daflow schema``: the keys of the workflow file, for editors and for readers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daflow.errors import DataError

HELP: Final = (
    "Describe the keys of the workflow file: of a section, or of one kind of it.\n\n"
    "Without a key it prints the JSON schema of the whole file, for editors.\n\n"
    "[bold]daflow schema model\n\ndaflow schema model.command\n\ndaflow schema parameters.prior.normal[/]"
)
NEEDED: Final = "(needed)"
Node = Mapping[str, Any]


def schema(
    key: Annotated[
        str | None,
        typer.Argument(help="A key, with points between its parts; default: all of them, as JSON."),
    ] = None,
) -> None:
    """Describe the keys of the workflow file."""
    from daflow.config.load import json_schema  # noqa: PLC0415 - half a second of imports, when asked for

    whole = json_schema()
    if key is None:
        typer.echo(json.dumps(whole, indent=1))
        return
    for part in described(whole, key):
        Console().print(part)


def described(whole: Node, key: str) -> Iterator[Text | Table]:
    """Yield what a key means, and the kinds or keys below it.

    Raises
    ------
    daflow.errors.DataError
        There is no such key.
    """
    node = _found(whole, key)
    inner = _section(whole, node)
    words = [str(each["description"]) for each in (node, inner) if each.get("description")]
    yield Text.assemble((key, "bold"), ": ", " ".join(dict.fromkeys(words)))
    kinds = _kinds(whole, inner)
    if kinds:
        yield _table("kind", {name: ("", str(each.get("description", ""))) for name, each in kinds.items()})
        yield Text(f"`daflow schema {key}.{next(iter(kinds))}` has the keys of one", style="dim")
    elif inner.get("properties"):
        yield _table("key", {name: _told(inner, name) for name in inner["properties"]})
    else:
        yield Text(f"default: {_default(node)}" if "default" in node else "it has no default", style="dim")


def _found(whole: Node, key: str) -> Node:
    """Return the schema of a key; names of the user's own and places in lists need not be given."""
    node: Node = whole
    for part in key.split("."):
        inner = _section(whole, node)
        below = {**inner.get("properties", {}), **_kinds(whole, inner)}
        if part in below:
            node = below[part]
        elif node is inner or "properties" in node:
            from daflow.config.section import nearest  # noqa: PLC0415 - the same

            near = nearest(part, below)
            raise DataError(
                f"{key}: there is no such key" + (f"; did you mean '{near}'?" if near else ""),
                got=part,
                allowed=", ".join(below) or "nothing: it is a value",
                do="`daflow schema KEY` describes those below a key",
            )
        else:
            node = inner  # a name of the user's own
    return node


def _section(whole: Node, node: Node) -> Node:
    """Return the section that a key holds, one of many, or none: through references, lists and mappings."""
    if "$ref" in node:
        return _section(whole, whole["$defs"][node["$ref"].rpartition("/")[2]])
    for below in (node.get("items"), node.get("additionalProperties"), *node.get("anyOf", ())):
        if isinstance(below, Mapping):
            inner = _section(whole, below)
            if "properties" in inner or "discriminator" in inner:
                return inner
    return node


def _kinds(whole: Node, node: Node) -> dict[str, Node]:
    mapping = node.get("discriminator", {}).get("mapping", {})
    return {kind: _section(whole, {"$ref": reference}) for kind, reference in mapping.items()}


def _told(section: Node, name: str) -> tuple[str, str]:
    node = section["properties"][name]
    default = NEEDED if name in section.get("required", ()) else _default(node)
    allowed = ", ".join(map(str, node.get("enum", ())))
    return default, str(node.get("description", "")) + (f" One of {allowed}." if allowed else "")


def _default(node: Node) -> str:
    default = node.get("default")
    return "" if default in (None, {}, []) else json.dumps(default, ensure_ascii=False)


def _table(first: str, rows: Mapping[str, tuple[str, str]]) -> Table:
    table = Table(box=None, header_style="dim")
    has_defaults = any(default for default, _ in rows.values())
    table.add_column(first, no_wrap=True, style="bold")
    if has_defaults:
        table.add_column("default", overflow="fold", max_width=24)
    table.add_column("", overflow="fold")
    for name, (default, words) in rows.items():
        table.add_row(name, *([Text(default)] if has_defaults else []), Text(words))
    return table
