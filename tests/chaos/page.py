"""The page of a torment: what was done how often, and how the runs answered, from the JSON that it keeps.

``python -m tests.chaos.page build/chaos.json`` writes the tables into README.md beside this module; more
files are told as one.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos import acts

PAGE = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
SHOWN = 24
"""How many single acts are shown, evenly over the whole time."""


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield the lines of a table."""
    heads = list(head)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def rounds(told: dict[str, Any]) -> Iterator[str]:
    """Yield the table of the runs."""
    head = ("run", "workers", "minutes", "acts", "drivers", "attempts that ended badly", "faults")
    yield from table(
        head,
        (
            (
                r["number"],
                r["kind"],
                f"{r['seconds'] / 60:.1f}",
                r["acts"],
                r["drivers"],
                counted(r["bad"]),
                "; ".join(map(shortened, r["faults"])) or "none",
            )
            for r in told["rounds"]
        ),
    )


def counted(counts: dict[str, int]) -> str:
    """Return counts in words."""
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda pair: -pair[1])) or "none"


def by_act(told: dict[str, Any]) -> Iterator[str]:
    """Yield the table of the acts."""
    head = ("act", "times", "attempts until the next act", "seconds to the next task done", "the driver")
    yield from table(head, (_row(name, told["deeds"]) for name in sorted({d["act"] for d in told["deeds"]})))


def _row(name: str, deeds: list[dict[str, Any]]) -> tuple[object, ...]:
    mine = [deed for deed in deeds if deed["act"] == name]
    bad: Counter[str] = Counter()
    for deed in mine:
        bad.update(deed["bad"])
    waits = [deed["next_ok"] for deed in mine if deed["next_ok"] is not None]
    took = f"{statistics.median(waits):.1f} (most {max(waits):.0f})" if waits else "-"
    ends = Counter("stopped; resumed" if d["driver"].startswith("stopped") else d["driver"] for d in mine)
    what = str(getattr(acts, name).__doc__).strip().removesuffix(".")
    n_ok = sum(deed["ok"] for deed in mine)
    return (
        what,
        len(mine),
        counted({"ok": n_ok, **bad}),
        took,
        ", ".join(f"{words} ({n})" for words, n in ends.most_common()),
    )


def some(told: dict[str, Any]) -> Iterator[str]:
    """Yield a table of single acts."""
    deeds = told["deeds"]
    chosen = deeds[:: max(len(deeds) // SHOWN, 1)][:SHOWN]
    head = ("run", "second", "what", "answer")
    yield from table(head, ((d["round"], d["second"], d["what"], _answer(d)) for d in chosen))


def _answer(deed: dict[str, Any]) -> str:
    first = "" if deed["next_ok"] is None else f"; the next task was done after {deed['next_ok']:.1f} s"
    bad = f"; {counted(deed['bad'])}" if deed["bad"] else ""
    why = f" ({shortened(deed['reasons'][0])})" if deed["reasons"] else ""
    return f"the driver {shortened(deed['driver'])}{first}{bad}{why}"


def shortened(words: str) -> str:
    """Return words without the places of the machine that they were said on."""
    kept = [word.rpartition("/")[2] if word.startswith("/") else word for word in words.split()]
    return " ".join(kept).replace("|", "/")[:110]


def written(told: dict[str, Any]) -> str:
    """Return all tables as text."""
    deeds = told["deeds"]
    hours = sum(r["seconds"] for r in told["rounds"]) / 3600
    problem = told["problem"]
    n_faults = sum(len(r["faults"]) for r in told["rounds"])
    size, steps, seed = problem["size"], problem["steps"], told["seed"]
    first = (
        f"{len(deeds)} acts on {len(told['rounds'])} runs of {size} members and {steps} updates in "
        f"{hours:.2f} h, seed {seed}: {n_faults} faults (lost or done twice, other bits, receipts "
        "changed, processes or scratch left behind, stops for no reason)."
    )
    lines = [
        first,
        "",
        *rounds(told),
        "",
        *by_act(told),
        "",
        "Some of them:",
        "",
        *some(told),
    ]
    return "\n".join(lines) + "\n"


def joined(sittings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return several sittings as one."""
    whole: dict[str, Any] = {"rounds": [], "deeds": [], "problem": {}}
    for sitting in sittings:
        shift = len(whole["rounds"])
        whole["rounds"] += [r | {"number": r["number"] + shift} for r in sitting["rounds"]]
        whole["deeds"] += [d | {"round": d["round"] + shift} for d in sitting["deeds"]]
    for name in ("size", "steps"):
        whole["problem"][name] = " and ".join(
            dict.fromkeys(str(sitting["problem"][name]) for sitting in sittings)
        )
    return whole | {"seed": " and ".join(str(sitting["seed"]) for sitting in sittings)}


def main(words: list[str]) -> int:
    """Write the tables of a torment into the page."""
    told = joined([json.loads(Path(word).read_text()) for word in words])
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + written(told) + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
