"""What commands print for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table
from rich.text import Text

from daflow.assemble.looking_ahead.preview import Preview
from daflow.names import Phase, Status
from daflow.runs.ends import told_hosts, told_messages
from daflow.runs.status import RunStatus

SHOWN = 10
"""How many members that failed are listed; `--json` has all of their attempts."""
AT_FIRST = frozenset({Phase.PRIOR, Phase.FORECAST})
"""Stages that tell how many members there were."""
COUNTS = frozenset({"attempts", "members", "done since"})
WORDS = frozenset({"phase", "status", "reason"})
STYLES: Mapping[Status, str] = {
    Status.OK: "green",
    Status.FAILED: "red",
    Status.INVALID: "red",
    Status.TIMED_OUT: "magenta",
    Status.CANCELLED: "dim",
    Status.LOST: "yellow",
    Status.BLOCKED: "bold red",
}
"""Red: the member's own; yellow: the machine's."""


def size(n_bytes: float) -> str:
    """Return a number of bytes as one reads it."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def preview_table(seen: Preview) -> Table:
    """Return what `daflow check` says."""
    table = Table(title=f"{seen.name}: looks good", show_header=False, title_justify="left", box=None)
    table.add_column(style="dim")
    table.add_column()
    rows = {
        "model": seen.model,
        "method": f"{seen.method}, {_many(seen.n_steps, 'update')}, localization: {seen.localization}",
        "members": f"{seen.n_members:,}",
        "state": f"{_many(seen.n_state, 'number')} a member, {_cut(seen)}",
        "observations": f"{seen.n_obs:,}",
        "model runs": f"{seen.forecasts:,}",
        "store": f"{size(seen.store_bytes)} in {_many(seen.store_files, 'file')}",
        "memory": f"an update holds about 3 slabs of {size(seen.slab_bytes)} a worker",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for note in seen.notes:
        table.add_row("note", Text(note))
    return table


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _cut(seen: Preview) -> str:
    return "in one slice" if seen.n_slices == 1 else f"in {seen.n_slices:,} slices of {seen.slice_size:,}"


def status_tables(seen: RunStatus) -> Iterator[Table | Text]:
    """Yield what `daflow status` says."""
    colour = {"finished": "green", "running": "cyan"}.get(seen.state, "yellow")
    yield Text.assemble(
        (seen.name, "bold"), ": ", (seen.state, colour), f", {_members(seen)} members", _how(seen)
    )
    stages = Table(box=None)
    for name in ("step", "phase", "done", "failed", "of"):
        stages.add_column(name, justify="left" if name == "phase" else "right")
    for stage in seen.stages:
        style = None if stage.done else "dim"
        failed = str(stage.failed) if stage.failed else ""
        stages.add_row(str(stage.step), stage.phase, str(stage.done), failed, str(stage.total), style=style)
    yield stages
    for host, reason in seen.avoided.items():
        yield Text.assemble((f"node {host} is put aside: ", "yellow"), reason)
    if seen.ends:
        yield _ends(seen)
    if seen.failures:
        yield from _failures(seen)


def _members(seen: RunStatus) -> str:
    at_first = max((stage.total for stage in seen.stages if stage.phase in AT_FIRST), default=seen.members)
    return f"{seen.members:,}" + (f" of {at_first:,}" if at_first > seen.members else "")


def _how(seen: RunStatus) -> str:
    if seen.driver:
        since = f" since {seen.lease.told_since()}" if seen.lease is not None else ""
        return f", driven by {seen.driver}{since}"
    reason = f"\n{seen.reason}" if seen.reason and seen.state != "finished" else ""
    return reason + ("\n`daflow resume` goes on with it" if seen.resumable else "")


def _ends(seen: RunStatus) -> Table:
    table = Table(title="how attempts ended that did not end well", title_justify="left", box=None)
    for name in ("end", "attempts", "members", "done since", "hosts", "messages"):
        table.add_column(name, overflow="fold", justify="right" if name in COUNTS else "left")
    for group in seen.ends:
        attempts = f"{group.attempts}" + (f" ({group.blameless} blameless)" if group.blameless else "")
        table.add_row(
            Text(group.status, style=STYLES[group.status]),
            attempts,
            str(len(group.members)),
            str(group.done_since),
            Text(told_hosts(group.hosts)),
            Text(told_messages(group)),
        )
    return table


def _failures(seen: RunStatus) -> Iterator[Table | Text]:
    """Yield the latest attempt of each member that did not end well: earlier ones said the same, mostly."""
    latest = {(end.step, end.phase, end.member): end for end in seen.failures}
    shown = list(latest.values())[-SHOWN:]
    more = len(seen.failures) - len(shown)
    title = "the latest that did not end well" + (f"; {more} more attempts in --json" if more else "")
    yield Text(title, style="italic")  # a table's own title is folded to its width
    table = Table(box=None)
    for name in ("step", "phase", "number", "attempt", "status", "reason"):
        table.add_column(name, overflow="fold", justify="left" if name in WORDS else "right")
    for end in shown:
        first_line = end.reason.partition("\n")[0]
        table.add_row(
            str(end.step),
            end.phase,
            str(end.member),
            str(end.attempt),
            Text(end.status, style=STYLES[end.status]),
            Text(first_line),
        )
    yield table
