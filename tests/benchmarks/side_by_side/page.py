"""What was measured, as a page: results.json, the table in README.md, and a picture.

Run by ``make bench`` after the cases::

    python -m side_by_side.page measured.json

Cases that were not run this time keep the figures they had, with the day and the machine of theirs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from side_by_side.cases import CASES

FOLDER: Final = Path(__file__).parents[1]
RESULTS, PAGE, PICTURE = FOLDER / "results.json", FOLDER / "README.md", FOLDER / "results.svg"
BEGIN, END = "<!-- measured: written by make bench -->", "<!-- end of what was measured -->"
Results = dict[str, dict[str, Any]]
"""Name of a case -> its record, with the machine it was measured on."""
SECONDS: Final = frozenset({"cpu", "wall"})


def merged(before: Results, measured: Mapping[str, Any], order: Sequence[str]) -> Results:
    """Return the records of before with those that pytest-benchmark wrote now, in the order of the cases.

    Laws: a case that was measured now replaces its record, one that was not keeps it; a case that is no
    longer there is forgotten.
    """
    now = {
        benchmark["extra_info"]["case"]: benchmark["extra_info"] | {"machine": measured["machine_info"]}
        for benchmark in measured["benchmarks"]
        if "case" in benchmark["extra_info"]
    }
    there = before | now
    return {name: there[name] for name in order if name in there}


def number(value: float | None) -> str:
    """Return a number with three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def amount(figure: str, value: float | None, unit: str = "") -> str:
    """Return a figure with its unit."""
    if value is None:
        return ""
    return f"{number(value)} {'s' if figure in SECONDS else unit or figure}".strip()


def reached(aim: Mapping[str, Any]) -> str:
    """Return how far ours went: a ratio, a share, or the figure itself."""
    if aim["against"] is None:
        return amount(aim["figure"], aim["value"], aim["unit"])
    return f"{aim['value']:.0%}" if aim["sense"] == "at least" else f"{number(aim['value'])}x"


def asked(aim: Mapping[str, Any]) -> str:
    """Return what was to be reached."""
    if aim["sense"] == "beside":
        return ""
    sign = "≤" if aim["sense"] == "at most" else "≥"
    if aim["against"] is None:
        return f"{sign} {amount(aim['figure'], aim['bound'], aim['unit'])}"
    return f"{sign} {aim['bound']:.0%}" if aim["sense"] == "at least" else f"{sign} {number(aim['bound'])}x"


def rows(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield a row for each aim: case, who of ours, against whom, theirs, ours, reached, aim, met."""
    for record in results.values():
        title = record["title"]
        for aim in record["aims"]:
            theirs = amount(aim["figure"], aim["theirs"], aim["unit"])
            ours = amount(aim["figure"], aim["ours"], aim["unit"])
            met = {True: "yes", False: "**no**", None: ""}[aim["met"]]
            yield title, aim["who"], aim["against"] or "", theirs, ours, reached(aim), asked(aim), met
            title = ""


def contenders(results: Results) -> Iterator[tuple[str, ...]]:
    """Yield a row for each contender: case, who, processor and clock seconds, memory, rounds, note."""
    for record in results.values():
        title = record["title"]
        for name, contender in record["contenders"].items():
            figures = contender["figures"]
            seconds = (number(figures.get(figure)) for figure in ("cpu", "wall"))
            memory = number(figures.get("extra"))
            yield title, name, *seconds, memory, str(contender["rounds"]), contender["note"]
            title = ""


def table(head: Sequence[str], body: Iterator[tuple[str, ...]]) -> str:
    """Return a table in Markdown.

    Laws: every row has as many cells as the head; a bar in a cell stays in its cell.
    """
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def machines(results: Results) -> Iterator[str]:
    """Yield a line for each machine and day, with the cases that were measured there."""
    there: dict[str, list[str]] = {}
    for name, record in results.items():
        found = record["machine"]
        packages = ", ".join(f"{package} {version}" for package, version in found["packages"].items())
        line = (
            f"{found['date']}: {found['cores']} x {found['processor']}, {found['memory_gb']} GB, "
            f"{found['disk']}, {found['system']}, BLAS {'; '.join(found['blas'])}, "
            f"Python {found['python']}, {packages}"
        )
        there.setdefault(line, []).append(name)
    for line, names in there.items():
        yield f"- {line} ({', '.join(names)})"


def words(results: Results) -> str:
    """Return what stands between the marks of the page."""
    aims = table(("case", "who", "against", "theirs", "ours", "reached", "aim", "met"), rows(results))
    who = table(
        ("case", "contender", "CPU s", "wall s", "extra memory, MB", "rounds", "note"), contenders(results)
    )
    parts = (aims, "## Every contender", who, "## Measured on", "\n".join(machines(results)))
    return "\n\n".join((BEGIN, *parts, END))


def put(page: str, text: str) -> str:
    """Return a page with other words between its marks.

    Laws: putting the same words again changes nothing; what stands outside the marks stays.
    """
    before, _, rest = page.partition(BEGIN)
    return before + text + rest.partition(END)[2]


def main() -> None:
    """Take in what was measured and write the page anew."""
    from side_by_side.picture import draw  # noqa: PLC0415 - tables do without

    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    measured = json.loads(Path(sys.argv[1]).read_text())
    results = merged(before, measured, [case.name for case in CASES])
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(put(PAGE.read_text(), words(results)))
    draw(results, PICTURE)


if __name__ == "__main__":
    main()
