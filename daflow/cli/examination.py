"""What `daflow doctor` prints for people."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from daflow.assemble.looking_ahead.examination import Examination, Fit, Machine, enough
from daflow.cli.tables import size
from daflow.storage.disk import Disk
from daflow.storage.disk_speed import DiskSpeed, size_of, told

PACKAGES: Final = ("daflow", "numpy", "scipy", "zarr", "dask", "distributed", "xarray")
LEFT: Final = (0, 0, 1, 0)
"""Space below each part."""


def examination_told(found: Examination) -> RenderableType:
    """Return what was found, as one reads it."""
    parts: list[RenderableType] = [_machine(found.machine), _disk(found.disk)]
    if found.speed is not None:
        parts += [_speeds(found.speed), _advice(found.speed)]
    if found.fit is not None:
        parts.append(_fit(found.fit))
    parts.append(_findings(found.findings))
    return Group(*(Padding(part, LEFT) for part in parts[:-1]), parts[-1])


def _facts(title: str, facts: dict[str, str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    return table


def _machine(machine: Machine) -> Table:
    versions = dict(machine.versions)
    python, blas = versions.pop("python"), versions.pop("blas")
    of_all = "" if machine.cores == machine.cores_there else f" of {machine.cores_there}"
    return _facts(
        "machine",
        {
            "python": f"{python}, {versions['system']} {versions['machine']}",
            "packages": ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions),
            "numba": machine.numba or "not installed (daflow[fast] has it; only local analyses use it)",
            "BLAS": f"{blas}, {machine.blas_threads} threads (workers: 1 each)",
            "cores": f"{machine.cores}{of_all}",
            "memory": f"{size(machine.memory_bytes)}, {size(machine.memory_free)} free",
        },
    )


def _disk(disk: Disk) -> Table:
    files = "" if disk.free_files is None else f", {disk.free_files:,} more files"
    return _facts(
        "disk",
        {
            "folder": disk.folder,
            "file system": f"{disk.kind}, mounted at {disk.mounted}",
            "free": size(disk.free_bytes) + files,
            "direct I/O": "yes" if disk.direct else "no",
            "small file": f"durable after {disk.sync_seconds * 1e3:.1f} ms",
        },
    )


def _speeds(speed: DiskSpeed) -> Table:
    how = speed.packing
    plain = how.codec == how.sharding == "none"
    packed = "" if plain else f" with codec {how.codec}, sharding {how.sharding}"
    table = Table(title=f"speed{packed}", title_justify="left", title_style="bold", box=None)
    table.add_column("way to store")
    for name in ("write MB/s", "read MB/s", "of raw"):
        table.add_column(name, justify="right")
    for each in speed.speeds:
        table.add_row(
            told(each.way, each.chunk_bytes),
            f"{each.write / 1e6:,.0f}",
            f"{each.read / 1e6:,.0f}",
            f"{each.share:.0%}",
        )
    return table


def _advice(speed: DiskSpeed) -> Text:
    best = max(speed.chunks, key=lambda each: each.share)
    least = enough(speed)
    reached = f"{best.share:.0%} of the raw disk"
    if least is speed.chunks[-1]:
        said = f"Chunks of {size_of(best.chunk_bytes)} reach {reached}, smaller ones clearly less."
    else:
        said = f"Chunks reach {reached}; those of {size_of(least.chunk_bytes)} and more come near that."
    rule = "By daflow's rule a chunk has up to 4 MiB, less where a slice of all members would pass 100 MiB."
    return Text(f"{said} {rule}")


def _fit(fit: Fit) -> Table:
    seen = fit.preview
    cut = "one slice" if seen.n_slices == 1 else f"{seen.n_slices:,} slices of {seen.slice_size:,} numbers"
    facts = {
        "state": f"{seen.n_members:,} members of {seen.n_state:,} numbers, in {cut}",
        "chunk": f"{size_of(fit.chunk_bytes)}: one member's part of a slice",
        "slab": f"{size_of(seen.slab_bytes)} of memory: a slice of all members",
        "files": f"{fit.step_files:,} a step, {seen.store_files:,} in all",
        "arrays": f"{size(fit.step_bytes)} a step, {size(seen.store_bytes)} in all",
    }
    if fit.step_seconds is not None:
        facts["update"] = f"{fit.step_seconds:,.2g} s to read and write one step on this disk"
    return _facts(seen.name, facts)


def _findings(findings: tuple[str, ...]) -> RenderableType:
    if not findings:
        return Text("Nothing is wrong here.", style="green")
    table = Table(
        title="look at this", title_justify="left", title_style="yellow", show_header=False, box=None
    )
    table.add_column(style="yellow")
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row("-", Text(finding))
    return table
