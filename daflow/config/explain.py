"""Say in one screen what is wrong with a workflow: each key, what it has, and what it may have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import ErrorDetails

from daflow.config.section import REFUSED, Problem, nearest
from daflow.errors import ConfigError

MOST_PROBLEMS: Final = 8
NO_SUCH_KEY: Final = "there is no such key"
LONGEST: Final = 160
"""Characters of what was found, or of what may be there, in a message."""
JsonSchema = Mapping[str, Any]
Where = Callable[[tuple[str | int, ...]], str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an error lies: the key as the user wrote it, the schema there and that of what holds it."""

    key: tuple[str | int, ...]
    node: JsonSchema
    holder: JsonSchema


def config_error(
    errors: Iterable[ErrorDetails],
    schema: JsonSchema,
    source: str,
    where: Where,
    kinds: Mapping[tuple[str | int, ...], object] | None = None,
) -> ConfigError:
    """Return one error that tells all of pydantic's.

    ``where`` says on which line a key stands, ``kinds`` which sections got which kind beside the file: the
    other settings there are those of another kind.
    """
    found = [
        (place.key, problem)
        for error in errors
        if error["type"] != "default_factory_not_called"  # follows from another error, which is told
        for place in [find_place(schema, error["loc"])]
        for problem in _problems(error, place)
    ]
    lines = [f"{source}: {_line(key, problem, where)}" for key, problem in found[:MOST_PROBLEMS]]
    sections = {key[0] for key, _ in found if key and key[0] in schema["properties"]}
    about = f" {sections.pop()}" if len(sections) == 1 else ""
    do = f"correct it there; 'daflow schema{about}' describes every key"
    for section, kind in (kinds or {}).items():
        if any(key[:-1] == section and problem.what.startswith(NO_SUCH_KEY) for key, problem in found):
            whole = f"--set '{'.'.join(map(str, section))}={{kind: {kind}}}'"
            do = f"{whole} starts the section anew, without the file's settings for its own kind"
    if len(found) == 1:
        ((key, problem),) = found
        what = f"{source}: {_label(key, problem, where)}{problem.what}"
        return ConfigError(what, got=_short(problem.got), allowed=_short(problem.allowed), do=do)
    if len(found) > MOST_PROBLEMS:
        lines.append(f"... and {len(found) - MOST_PROBLEMS} more")
    return ConfigError(
        "\n  ".join([f"{source}: {len(found)} problems", *lines]),
        do=do.replace("correct it", "correct them", 1),
    )


def _label(key: tuple[str | int, ...], problem: Problem, where: Where) -> str:
    full = (*key, *problem.key.split(".")) if problem.key else key
    return f"{'.'.join(map(str, full))}{where(full)}: " if full else ""


def _line(key: tuple[str | int, ...], problem: Problem, where: Where) -> str:
    got, allowed = _short(problem.got), _short(problem.allowed)
    said = "" if got is None else f"; got {got}"
    said += "" if allowed is None else f"; allowed: {allowed}"
    return _label(key, problem, where) + problem.what + said


def _short(value: object) -> str | None:
    if value is None:
        return None
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def find_place(schema: JsonSchema, loc: Sequence[str | int]) -> Place:
    """Return the place of pydantic's ``loc``, in which names of alternatives stand between the keys."""
    key: tuple[str | int, ...] = ()
    node, holder = _resolved(schema, schema), schema
    for item in loc:
        if item == "[key]":
            break
        holder = node
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"].get(item, "")}
        elif "oneOf" in node:
            node = next((one for one in node["oneOf"] if _goes_by(item, _resolved(one, schema))), {})
        else:
            key = (*key, item)
            children = node.get("properties", {})
            node = node.get("items", {}) if isinstance(item, int) else children.get(item, _others(node))
        node = _resolved(node, schema)
    return Place(key, node, holder)


def _others(node: JsonSchema) -> JsonSchema:
    others = node.get("additionalProperties", {})
    return others if isinstance(others, dict) else {}


def _resolved(node: JsonSchema, schema: JsonSchema) -> JsonSchema:
    """Return a node with what its reference says, and without the alternative of null."""
    if "$ref" in node:
        target = schema["$defs"].get(node["$ref"].rpartition("/")[2], {})
        rest = {name: value for name, value in node.items() if name != "$ref"}
        return _resolved(target | rest, schema)
    if "anyOf" in node:
        kept = [one for one in node["anyOf"] if one.get("type") != "null"]
        rest = {name: value for name, value in node.items() if name != "anyOf"}
        return _resolved((kept[0] if len(kept) == 1 else {"oneOf": kept}) | rest, schema)
    return node


FORMS: Final = {
    "string": ("word", "a text"),
    "object": ("mapping", "a mapping of keys to values"),
    "array": ("list", "a list"),
    "integer": ("number", "a whole number"),
    "number": ("number", "a number"),
    "boolean": ("truth value", "true or false"),
}
"""Type in a JSON schema -> what `kind_of_value` calls it, and what a user would."""


def _form(node: JsonSchema) -> tuple[str, str]:
    if "discriminator" in node:
        return FORMS["object"]
    word, said = FORMS.get(node.get("type", ""), ("", "another value"))
    words = node.get("enum", [node["const"]] if "const" in node else [])
    return word, " or ".join(f"'{each}'" for each in words) or said


def _goes_by(name: str | int, node: JsonSchema) -> bool:
    """Say whether an alternative is called so: by what it is, or by a key that it alone has."""
    return name in _form(node) or name in node.get("properties", {})


def _forms(node: JsonSchema) -> str:
    return " or ".join(
        dict.fromkeys(_form(one)[1] if "$ref" not in one else "a mapping" for one in node["oneOf"])
    )


def _got(value: object) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, value)) or 'no keys'}"
    return repr(value) if isinstance(value, str) else str(value)


def _meant(name: object, known: Iterable[str]) -> str:
    near = nearest(str(name), known)
    return "" if near is None else f"; did you mean '{near}'?"


Teller = Callable[[ErrorDetails, Place], Problem]


def _unknown_key(_error: ErrorDetails, place: Place) -> Problem:
    known = list(place.holder.get("properties", {}))
    name = place.key[-1]
    return Problem("", f"{NO_SUCH_KEY}{_meant(name, known)}", f"'{name}'", ", ".join(known))


def _missing_key(_error: ErrorDetails, place: Place) -> Problem:
    said = place.node.get("description", "")
    return Problem("", f"the key is missing{': ' if said else ''}{said.rstrip('.')}")


def _unknown_kind(error: ErrorDetails, place: Place) -> Problem:
    if "discriminator" not in place.node:
        return Problem("", "of a wrong type", _got(error["input"]), _forms(place.node))
    if not isinstance(error["input"], Mapping):
        return Problem("", "of a wrong type", _got(error["input"]), FORMS["object"][1])
    kinds = sorted(place.node["discriminator"]["mapping"])
    if error["type"] == "union_tag_not_found":
        return Problem("kind", "the key is missing", None, ", ".join(kinds))
    tag = error.get("ctx", {}).get("tag", "")
    words = [one.get("const") for one in place.holder.get("oneOf", ())]
    if tag in words:
        said = f"'{tag}' is a word by itself here, not a kind: {place.key[-1]}: {tag}"
        return Problem("kind", said, f"'{tag}'", f"{tag}, or a mapping of kind {', '.join(kinds)}")
    return Problem("kind", f"there is no such kind{_meant(tag, kinds)}", f"'{tag}'", ", ".join(kinds))


def _unknown_word(error: ErrorDetails, place: Place) -> Problem:
    words = re.findall(r"'([^']*)'", error["ctx"]["expected"])
    allowed = _forms(place.holder) if "oneOf" in place.holder else ", ".join(words)
    return Problem(
        "", f"there is no such choice{_meant(error['input'], words)}", _got(error["input"]), allowed
    )


def _refused(error: ErrorDetails, _place: Place) -> tuple[Problem, ...]:
    problems: tuple[Problem, ...] = error["ctx"]["problems"]
    return problems


def _said_by_a_section(error: ErrorDetails, _place: Place) -> Problem:
    return Problem("", str(error.get("ctx", {}).get("error", error["msg"])))


def _of_wrong_form(error: ErrorDetails, place: Place) -> Problem:
    pattern = place.node.get("description") if error["type"] == "string_pattern_mismatch" else None
    return Problem("", "not of the right form", _got(error["input"]), pattern)


def _of_type(allowed: str) -> Teller:
    return lambda error, _place: Problem("", "of a wrong type", _got(error["input"]), allowed)


def _beyond(words: str, limit: str) -> Teller:
    def tell(error: ErrorDetails, _place: Place) -> Problem:
        bound = error["ctx"][limit]
        bound = int(bound) if isinstance(bound, float) and bound.is_integer() else bound
        return Problem("", "out of range", _got(error["input"]), f"{words} {bound}")

    return tell


def _count(error: ErrorDetails, _place: Place) -> Problem:
    ctx = error["ctx"]
    few = "min_length" in ctx
    limit = f"at least {ctx['min_length']}" if few else f"at most {ctx['max_length']}"
    got = f"{ctx['actual_length']}" if "actual_length" in ctx else _got(error["input"])
    return Problem("", f"too {'few' if few else 'many'} entries", got, limit)


def _length(error: ErrorDetails, _place: Place) -> Problem:
    return Problem("", "an empty text", _got(error["input"]), "at least one character")


TELLERS: Final[Mapping[str, Teller]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing_key,
    "union_tag_invalid": _unknown_kind,
    "union_tag_not_found": _unknown_kind,
    "literal_error": _unknown_word,
    "value_error": _said_by_a_section,
    "string_pattern_mismatch": _of_wrong_form,
    "greater_than": _beyond("above", "gt"),
    "greater_than_equal": _beyond("at least", "ge"),
    "less_than": _beyond("below", "lt"),
    "less_than_equal": _beyond("at most", "le"),
    "finite_number": _of_type("a finite number"),
    "too_short": _count,
    "too_long": _count,
    "string_too_short": _length,
    "int_type": _of_type("a whole number"),
    "int_from_float": _of_type("a whole number"),
    "float_type": _of_type("a number"),
    "string_type": _of_type("a text"),
    "bool_type": _of_type("true or false"),
    "dict_type": _of_type("a mapping of keys to values"),
    "model_type": _of_type("a mapping of keys to values"),
    "model_attributes_type": _of_type("a mapping of keys to values"),
    "tuple_type": _of_type("a list"),
    "list_type": _of_type("a list"),
    "path_type": _of_type("a path"),
}


def _problems(error: ErrorDetails, place: Place) -> tuple[Problem, ...]:
    if error["type"] == REFUSED:
        return _refused(error, place)
    teller = TELLERS.get(error["type"])
    if teller is not None:
        return (teller(error, place),)
    what = error["msg"].replace("Input should be", "must be")
    return (Problem("", what, _got(error["input"]), place.node.get("description")),)
