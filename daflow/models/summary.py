"""Summary files of Eclipse and OPM Flow: a table of vectors (SMSPEC) and their values in time (UNSMRY).

UNSMRY holds one PARAMS record a ministep; the last before each SEQHDR (or the end) is a report step. Field,
well, group, region and block vectors are told apart by keyword, name and number, as SMSPEC lists them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daflow.config.external_models import EclipseSummaryOutput
from daflow.config.section import nearest
from daflow.errors import ConfigError, OutputInvalid
from daflow.models.predictions import describe_row
from daflow.ports import FloatArray, ObservationTable

_NAMES: Final = ("NAMES", "WGNAMES")
_TIME: Final = ("TIME", "", None)
Vector = tuple[str, str, int | None]
"""Keyword, name of well or group ("": any), number of region or block (`None`: any)."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary at its report steps."""

    source: str
    keywords: tuple[str, ...]
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    values: FloatArray
    """(n_reports, n_vectors)"""

    def column(self, vector: Vector) -> int:
        """Return the one column of a vector.

        Raises
        ------
        daflow.errors.OutputInvalid
            The summary has no such vector, or more than one.
        """
        keyword, name, number = vector
        found = [
            i
            for i, known in enumerate(self.keywords)
            if known == keyword
            and (not name or self.names[i] == name)
            and (number is None or self.numbers[i] == number)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise OutputInvalid(
                f"{self.source}: {len(found)} vectors {keyword} {name}".rstrip(),
                do="tell them apart: fill in the observation's column of wells or of numbers",
            )
        wells = sorted({self.names[i] for i, known in enumerate(self.keywords) if known == keyword})
        others = sorted(set(self.keywords))
        raise OutputInvalid(
            f"{self.source}: no vector {keyword} {name}".rstrip() + ("" if number is None else f" {number}"),
            allowed=f"{keyword} of {', '.join(wells)}" if wells else ", ".join(others[:30]),
            do="add it to the deck's SUMMARY section, or correct the observation table",
        )


def open_resfo() -> Any:
    """Return the package that reads these files.

    Raises
    ------
    daflow.errors.ConfigError
        It is not installed.
    """
    try:
        return importlib.import_module("resfo")
    except ModuleNotFoundError as problem:
        raise ConfigError(
            "model.output: kind 'eclipse_summary' needs the package 'resfo', which is not installed",
            do="pip install 'daflow[eclipse]'",
        ) from problem


def read_summary(case: Path) -> Summary:
    """Return what ``case.SMSPEC`` and ``case.UNSMRY`` hold at report steps.

    Raises
    ------
    daflow.errors.OutputInvalid
        A file is missing, cut short, or not what its name says.
    """
    heads = dict(_records(case.with_name(f"{case.name}.SMSPEC")))
    names = next((heads[key] for key in _NAMES if key in heads), None)
    keywords = heads.get("KEYWORDS")
    source = f"{case.name}.SMSPEC"
    if keywords is None or names is None:
        raise OutputInvalid(f"{source}: no KEYWORDS or WGNAMES", got=", ".join(heads), do="was it cut short?")
    numbers = heads.get("NUMS", np.zeros(len(keywords), dtype=np.int64))
    if not len(keywords) == len(names) == len(numbers):
        raise OutputInvalid(
            f"{source}: KEYWORDS, WGNAMES and NUMS differ in length",
            got=f"{len(keywords)}, {len(names)}, {len(numbers)}",
        )
    return Summary(
        f"{case.name}.SMSPEC and .UNSMRY",
        tuple(_text(keyword) for keyword in keywords),
        tuple(_text(name) for name in names),
        tuple(int(number) for number in numbers),
        _report_steps(case.with_name(f"{case.name}.UNSMRY"), len(keywords)),
    )


def _records(path: Path) -> Iterable[tuple[str, NDArray[Any]]]:
    if not path.is_file():
        raise OutputInvalid(f"{path.name}: the command did not write it", do="see its logs")
    resfo = open_resfo()
    try:
        for keyword, values in resfo.read(path):
            yield keyword.strip(), values
    except (resfo.ResfoParsingError, OSError, ValueError) as problem:
        raise OutputInvalid(
            f"{path.name}: cannot be read as an Eclipse output file",
            got=problem,
            do="was it cut short? see the command's logs",
        ) from problem


def _report_steps(path: Path, n_vectors: int) -> FloatArray:
    steps: list[NDArray[Any]] = []
    latest: NDArray[Any] | None = None
    for keyword, values in _records(path):
        if keyword == "SEQHDR" and latest is not None:
            steps.append(latest)
            latest = None
        elif keyword == "PARAMS":
            if len(values) != n_vectors:
                raise OutputInvalid(
                    f"{path.name}: PARAMS of report step {len(steps) + 1} has the wrong length",
                    got=len(values),
                    allowed=f"{n_vectors}, as many as SMSPEC has vectors",
                    do="do both files come from one simulation?",
                )
            latest = values
    if latest is not None:
        steps.append(latest)
    if not steps:
        raise OutputInvalid(
            f"{path.name}: holds no report step", do="the simulation ended at once: see its logs"
        )
    return np.asarray(steps, dtype=np.float64)


def _text(raw: Any) -> str:
    return (raw.decode("ascii", errors="replace") if isinstance(raw, bytes) else str(raw)).strip()


def read_eclipse_summary(
    settings: EclipseSummaryOutput, work_dir: Path, observations: ObservationTable
) -> FloatArray:
    """Return the predictions (n_obs,) of a summary, matched by vector, well, number and time.

    Raises
    ------
    daflow.errors.ConfigError
        The observation table lacks a column that the matching needs.
    daflow.errors.OutputInvalid
        The summary lacks a file, a vector, a well or a report step.
    """
    vectors = _wanted(settings, observations)
    times = np.asarray(_column(observations, settings.time, "time"), dtype=np.float64)
    summary = read_summary(work_dir / settings.case)
    columns = {vector: summary.column(vector) for vector in dict.fromkeys(vectors)}
    reported = summary.values[:, summary.column(_TIME)]
    asked, which = np.unique(times, return_inverse=True)
    nearest = np.abs(reported - asked[:, np.newaxis]).argmin(axis=1)
    late = np.abs(reported[nearest] - asked) > settings.tolerance
    rows = np.flatnonzero(late[which])
    if rows.size:
        raise OutputInvalid(
            f"{summary.source}: no report step at {_some(asked[late])}, asked for first by "
            + describe_row(observations, int(rows[0])),
            got=f"{len(reported)} report steps, at {_some(reported)}",
            allowed=f"a report step within {settings.tolerance:g} of each observation's time",
            do="did the simulation stop early? see its logs; else give the deck these report steps",
        )
    return summary.values[nearest[which], [columns[vector] for vector in vectors]]


def _some(times: FloatArray) -> str:
    shown = [f"{time:g}" for time in times]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]])


def _column(observations: ObservationTable, name: str, role: str) -> NDArray[Any]:
    if name not in observations:
        near = nearest(name, observations)
        raise ConfigError(
            f"model.output.{role}: the observation table has no column {name!r}",
            allowed=", ".join(observations),
            do=f"did you mean {near!r}?" if near else f"set '{role}' to one of these",
        )
    return observations[name]


def _wanted(settings: EclipseSummaryOutput, observations: ObservationTable) -> list[Vector]:
    keywords = _column(observations, settings.vector, "vector")
    nothing = np.full(len(keywords), "")
    names = observations.get(settings.well, nothing)
    numbers = observations.get(settings.number, nothing)
    return [
        (str(keyword).strip(), _word(name), None if not (number := _word(number_)) else int(float(number)))
        for keyword, name, number_ in zip(keywords, names, numbers, strict=True)
    ]


def _word(cell: Any) -> str:
    """Return a cell's text; empty where a table had nothing to say."""
    text = str(cell).strip()
    return "" if text.lower() in {"nan", "none", "<na>"} else text
