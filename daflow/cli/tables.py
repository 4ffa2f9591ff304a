"""What commands print for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table
from rich.text import Text

from daflow.assemble.preview import Preview
from daflow.names import Status
from daflow.runs.ends import told_hosts, told_messages
from daflow.runs.status import RunStatus

SHOWN = 20
"""How many failures are listed; `--json` has them all."""
COUNTS = frozenset({"attempts", "members", "done since"})
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
        "method": f"{seen.method}, {seen.n_steps} updates, localization: {seen.localization}",
        "members": f"{seen.n_members:,}",
        "state": f"{seen.n_state:,} numbers a member, {_cut(seen)}",
        "observations": f"{seen.n_obs:,}",
        "model runs": f"{seen.forecasts:,}",
        "store": f"{size(seen.store_bytes)} in {seen.store_files:,} files",
        "memory": f"an update holds about 3 slabs of {size(seen.slab_bytes)} a worker",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for note in seen.notes:
        table.add_row("note", Text(note))
    return table


def _cut(seen: Preview) -> str:
    return "in one slice" if seen.n_slices == 1 else f"in {seen.n_slices:,} slices of {seen.slice_size:,}"


def status_tables(seen: RunStatus) -> Iterator[Table | Text]:
    """Yield what `daflow status` says."""
    colour = {"finished": "green", "running": "cyan"}.get(seen.state, "yellow")
    yield Text.assemble(
        (seen.name, "bold"), ": ", (seen.state, colour), f", {seen.members} members", _how(seen)
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
        yield _failures(seen)


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


def _failures(seen: RunStatus) -> Table:
    more = len(seen.failures) - SHOWN
    title = "attempts that did not end well" + (
        f" (the last {SHOWN}; {more} more in --json)" if more > 0 else ""
    )
    table = Table(title=title, title_justify="left", box=None)
    for name in ("step", "phase", "number", "attempt", "status", "reason"):
        table.add_column(name, overflow="fold")
    for end in seen.failures[-SHOWN:]:
        first_line = end.reason.partition("\n")[0]
        table.add_row(
            str(end.step),
            end.phase,
            str(end.member),
            str(end.attempt),
            Text(end.status, style=STYLES[end.status]),
            Text(first_line),
        )
    return table
