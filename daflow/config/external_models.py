"""Settings of the two models that run the user's own code: a Python function, an external program."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from daflow.config.section import InputPath, Problem, Section, nearest, refuse

PLACEHOLDERS: Final = ("member", "step", "seed", "work_dir", "log_dir", "folder", "cores", "tasks", "nodes")
"""What may stand between braces in a command's arguments and environment."""
PLACEHOLDER_PATTERN: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")


def _module_and_function(text: str) -> str:
    module, colon, function = text.partition(":")
    if not (colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        refuse(
            [Problem("", "does not name a function", repr(text), "'module:function', as in 'model:forecast'")]
        )
    return text


def _inside_the_directory(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or path == PurePosixPath():
        what = "must be a path relative to the member's own directory, and stay inside it"
        refuse([Problem("", what, repr(text), "a name such as 'input.txt' or 'include/PERMX.INC'")])
    return text


def _known_placeholders(text: str) -> str:
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS) + "; braces meant as such are doubled"
    for name in (found[1] for found in PLACEHOLDER_PATTERN.finditer(text)):
        if name is not None and name not in PLACEHOLDERS:
            near = nearest(name, PLACEHOLDERS)
            meant = f": did you mean {{{near}}}?" if near else ""
            refuse([Problem("", f"{{{name}}} is no placeholder{meant}", repr(text), known)])
    return text


FunctionName = Annotated[str, AfterValidator(_module_and_function)]
MemberPath = Annotated[str, AfterValidator(_inside_the_directory)]
Keep = Literal["failed", "always", "never"]
PlaceholderText = Annotated[str, AfterValidator(_known_placeholders)]


class CallableSettings(Section):
    """A Python function of the user's is the forward model."""

    kind: Literal["callable"] = Field(default="callable", description="A Python function.")
    function: FunctionName | None = Field(
        default=None,
        description="The forward model, as 'module:function'. Only a run with 'cycling' does without it.",
    )
    advance: FunctionName | None = Field(
        default=None,
        description="For runs with 'cycling': 'module:function', called as advance(state, observations, "
        "start, stop). It gets the state at the time 'start' (variable -> array) and the observations of one "
        "cycle, and returns a pair: the state at the time 'stop' (variable -> array; one that is left out "
        "stays as it is) and the predictions, one an observation in the table's order, each at its own time. "
        "It may name the keywords that 'function' may, which is then not called.",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the function as keywords, in the function's own units."
    )
    observables: FunctionName | None = Field(
        default=None,
        description="'module:function' that returns the table of all that can be observed; "
        "a twin experiment needs it.",
    )
    keep: Keep = Field(
        default="failed",
        description="Which members' directories stay: those that failed, all, none. Logs always stay.",
    )
    folder: InputPath = Field(default=Path(), description="Where the module is looked for first.")


class TemplateFile(Section):
    """A text file with ``{{ name }}`` in places of member, step, seed and scalar parameters."""

    kind: Literal["template"] = Field(
        default="template", description="A text with places to fill in (Jinja)."
    )
    source: InputPath = Field(description="The template, UTF-8.")
    target: MemberPath | None = Field(
        default=None, description="The file to write; default: the source's name."
    )


class CopiedFile(Section):
    """A file or folder that every member gets as it is."""

    kind: Literal["copy"] = Field(default="copy", description="A file or folder as it is.")
    source: InputPath = Field(description="The file or folder.")
    target: MemberPath | None = Field(default=None, description="Its path there; default: the source's name.")
    how: Literal["copy", "symlink"] = Field(
        default="copy", description="'symlink' saves disk where the program only reads the file."
    )


class ArraySource(Section):
    """An array that is the same for all members."""

    file: InputPath = Field(description="A .npy or .npz file.")
    array: str | None = Field(default=None, description="The array's name in an .npz file.")


class ArrayFile(Section):
    """One variable, or one array from a file, written as numbers."""

    kind: Literal["array"] = Field(default="array", description="An array, written as numbers.")
    target: MemberPath = Field(description="The file to write.")
    variable: str | None = Field(default=None, description="The variable to write.")
    source: ArraySource | None = Field(default=None, description="Or an array from a file.")
    format: Literal["npy", "csv", "text", "eclipse_include"] = Field(
        description="'npy'; 'csv' and 'text': the last dimension along a line, split by commas or spaces; "
        "'eclipse_include': keyword, values, '/'."
    )
    keyword: str | None = Field(
        default=None, pattern=r"^[A-Z][A-Z0-9_+-]{0,7}$", description="The keyword of an 'eclipse_include'."
    )
    per_line: int = Field(default=5, ge=1, le=25, description="Values a line of an 'eclipse_include'.")
    transform: Literal["none", "exp", "exp10"] = Field(
        default="none", description="Applied to each value first."
    )
    scale: float = Field(
        default=1.0,
        allow_inf_nan=False,
        description="Multiplies each value then; file unit over the variable's.",
    )
    order: Literal["C", "F"] = Field(
        default="C", description="Which dimension runs fastest in the file: 'C' the last, 'F' the first."
    )
    dtype: Literal["float64", "float32", "int64", "int32"] = Field(
        default="float64",
        description="Written so; text has as many digits as it takes to read the same number.",
    )

    def _problems(self) -> Iterator[Problem]:
        if (self.variable is None) == (self.source is None):
            yield Problem("variable", "give either 'variable' or 'source'", self.variable)
        if (self.keyword is None) == (self.format == "eclipse_include"):
            what = f"belongs to format 'eclipse_include' and only there; format is {self.format!r}"
            yield Problem("keyword", what, self.keyword)


class NetcdfFile(Section):
    """Variables, written to one netCDF-4 file."""

    kind: Literal["netcdf"] = Field(default="netcdf", description="A netCDF-4 file.")
    target: MemberPath = Field(description="The file to write.")
    variables: dict[str, list[str]] = Field(
        min_length=1, description="Variable -> the names of its dimensions: {permx: [layer, row, column]}."
    )


class CsvOutput(Section):
    """Predictions from one column of a CSV file."""

    kind: Literal["csv"] = Field(default="csv", description="A column of a CSV file with a header.")
    file: MemberPath = Field(description="The file that the command writes.")
    column: str = Field(description="The column of predictions, in the observations' units.")
    keys: dict[str, str] = Field(
        default_factory=dict,
        description="CSV column -> column of the observation table: rows are matched by these; "
        "empty: rows stand in the order of the observations.",
    )
    tolerance: float = Field(
        default=1e-6, gt=0, description="How far apart matching numbers may be, in the key column's unit."
    )


class NpyOutput(Section):
    """Predictions from an .npy file."""

    kind: Literal["npy"] = Field(default="npy", description="An .npy file, in the order of the observations.")
    file: MemberPath = Field(description="The file that the command writes.")


class LabelledOutput(Section):
    """Predictions from a variable of a netCDF file or a zarr group."""

    kind: Literal["netcdf", "zarr"] = Field(description="A variable of a netCDF file or zarr group.")
    file: MemberPath = Field(description="The file or folder that the command writes.")
    variable: str = Field(
        description="The variable; last dimension fastest, in the order of the observations."
    )


class EclipseSummaryOutput(Section):
    """Predictions at report steps of an Eclipse summary (SMSPEC and UNSMRY)."""

    kind: Literal["eclipse_summary"] = Field(default="eclipse_summary", description="SMSPEC and UNSMRY.")
    case: MemberPath = Field(description="The two files' path without their ending.")
    vector: str = Field(default="kind", description="The observation column with the keyword: WOPR, WBHP...")
    well: str = Field(default="name", description="The observation column with the name of well or group.")
    number: str = Field(
        default="number", description="The observation column with the number of region or block, if any."
    )
    time: str = Field(
        default="time",
        description="The observation column with the time since the start, in the summary's unit.",
    )
    tolerance: float = Field(
        default=0.01,
        gt=0,
        description="How far a report step may be from an observation's time, in that unit.",
    )


class FunctionOutput(Section):
    """Predictions that the user's own function reads."""

    kind: Literal["function"] = Field(
        default="function", description="A Python function that reads the output."
    )
    function: FunctionName = Field(
        description="'module:function', called with the member's directory and the observation table; "
        "returns the predictions in the observations' order."
    )


InputFileSettings = Annotated[TemplateFile | CopiedFile | ArrayFile | NetcdfFile, Field(discriminator="kind")]
OutputSettings = Annotated[
    CsvOutput | NpyOutput | LabelledOutput | EclipseSummaryOutput | FunctionOutput,
    Field(discriminator="kind"),
]


class CommandSettings(Section):
    """An external program is the forward model, run in a directory of the member's own."""

    kind: Literal["command"] = Field(default="command", description="An external program.")
    command: tuple[PlaceholderText, ...] = Field(
        min_length=1,
        description="The program and its arguments, no shell between. {member}, {step}, {seed}, {work_dir}, "
        "{log_dir}, {folder} (the workflow's), and of execution.member {cores}, {tasks} and {nodes} are "
        "filled in; doubled braces stand for single ones.",
    )
    timeout: float | None = Field(
        default=None, gt=0, description="Seconds after which the program and all it started are ended."
    )
    environment: dict[str, PlaceholderText] = Field(
        default_factory=dict, description="Variables added to the worker's environment; same placeholders."
    )
    success_codes: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="The exit codes that mean that the program succeeded."
    )
    files: tuple[InputFileSettings, ...] = Field(
        default=(), description="What is written into the member's directory first."
    )
    output: OutputSettings = Field(description="How the predictions are read.")
    keep: Keep = Field(
        default="failed",
        description="Which members' directories stay: those that failed, all, none. Logs always stay: of "
        "what the program prints the first and the last MiB.",
    )
    observables: FunctionName | None = Field(
        default=None,
        description="'module:function' that returns the table of all that can be observed; "
        "a twin experiment needs it.",
    )
    folder: InputPath = Field(
        default=Path(), description="Where modules are looked for first and a relative program path starts."
    )

    def _problems(self) -> Iterator[Problem]:
        targets = Counter(target_of(entry) for entry in self.files)
        if twice := sorted(target for target, count in targets.items() if count > 1):
            yield Problem("files", "would be written twice", ", ".join(twice), "each target once")


def target_of(entry: TemplateFile | CopiedFile | ArrayFile | NetcdfFile) -> str:
    """Return the path in the member's directory that an entry of ``files`` writes."""
    if isinstance(entry, (TemplateFile, CopiedFile)):
        return entry.target or entry.source.name
    return entry.target
