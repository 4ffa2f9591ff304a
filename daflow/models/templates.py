"""Text files with places to fill in."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from daflow.config.section import nearest
from daflow.errors import ConfigError, DataError, ModelFailed

# What is written is a simulator's input, not a page: a quote must stay a quote.
_ENVIRONMENT = SandboxedEnvironment(
    undefined=jinja2.StrictUndefined,
    autoescape=False,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, slots=True)
class Template:
    """A text with ``{{ name }}`` in places of scalars; Jinja's tests, loops and filters work, sandboxed.

    Laws: a name without a value is an error that names file and line, never an empty place; a float is
    written with all its digits.
    """

    source: Path
    lines: Mapping[str, int]
    """The names that need a value, each with the line where it first stands."""
    compiled: jinja2.Template

    @property
    def names(self) -> frozenset[str]:
        """The names that need a value."""
        return frozenset(self.lines)

    def check_names(self, known: Collection[str]) -> None:
        """Raise `daflow.errors.ConfigError`, with the line, if a name is not among those with a value."""
        for name, line in self.lines.items():
            if name not in known:
                near = nearest(name, known)
                raise ConfigError(
                    f"{self.source}, line {line}: no variable {name!r}",
                    got=name,
                    allowed=", ".join(sorted(known)),
                    do=f"did you mean {{{{ {near} }}}}?" if near else "correct the template or the prior",
                )

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text with the values of its names filled in.

        Raises
        ------
        daflow.errors.ConfigError
            A name has no value.
        daflow.errors.ModelFailed
            An expression cannot be evaluated with these values.
        """
        self.check_names(values)
        try:
            return self.compiled.render({name: values[name] for name in self.lines})
        except Exception as problem:  # an expression may do anything
            frames = traceback.extract_tb(problem.__traceback__)
            here = [frame.lineno for frame in frames if frame.filename == str(self.source)]
            line_of_it = f", line {here[-1]}" if here else ""
            raise ModelFailed(
                f"{self.source}{line_of_it}: {type(problem).__name__}: {problem}",
                do="correct the expression in the template",
            ) from problem


def load_template(source: Path) -> Template:
    """Return the template in a file.

    Raises
    ------
    daflow.errors.DataError
        The file cannot be read.
    daflow.errors.ConfigError
        It is no valid template.
    """
    try:
        with source.open(encoding="utf-8", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(
            f"{source}: the template cannot be read", got=problem, allowed="a UTF-8 text file"
        ) from problem
    # Jinja writes one kind of line end throughout: that which the file has.
    environment = _ENVIRONMENT.overlay(newline_sequence="\r\n" if "\r\n" in text else "\n")
    try:
        tree = environment.parse(text, str(source), str(source))
        needed = meta.find_undeclared_variables(tree) - set(environment.globals)
        code = environment.compile(text, str(source), str(source))
    except jinja2.TemplateSyntaxError as problem:
        raise ConfigError(
            f"{source}, line {problem.lineno}: {problem.message}",
            do="correct it; text that only looks like a placeholder goes between {% raw %} and {% endraw %}",
        ) from problem
    if any(meta.find_referenced_templates(tree)):
        raise ConfigError(
            f"{source}: a template cannot include another", do="make it one file, or two entries of 'files'"
        )
    lines: dict[str, int] = {}
    for place in tree.find_all(nodes.Name):
        if place.name in needed:
            lines[place.name] = min(place.lineno, lines.get(place.name, place.lineno))
    compiled = jinja2.Template.from_code(environment, code, dict(environment.globals))
    return Template(source, dict(sorted(lines.items(), key=lambda item: item[1])), compiled)
