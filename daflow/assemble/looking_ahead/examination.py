"""What daflow runs on: the machine, the disk, and what they make of a workflow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
from threadpoolctl import threadpool_info

from daflow.assemble.environment import environment
from daflow.assemble.looking_ahead.preview import Preview, preview
from daflow.config.execution import LocalExecution
from daflow.config.schema import Workflow
from daflow.execution.tasks.pipeline import LANES
from daflow.storage.direct import ALIGNMENT, SMALLEST_DIRECT
from daflow.storage.disk import Disk, disk_of
from daflow.storage.disk_speed import CHUNK_SIZES, DiskSpeed, Speed, Watch, measure, size_of
from daflow.storage.disk_ways import Packing

ENOUGH: Final = 0.9
"""Of the best that chunks reach: where the search for larger ones ends."""
SLOW_SYNC: Final = 0.02
"""Seconds; every task syncs a few files."""
FEW_FILES: Final = 10**6
LITTLE_MEMORY: Final = 2 * 10**9
LOCAL_ANALYSIS: Final = "observation_error"
"""The taper that makes an analysis at each number of the state."""
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
SHARED: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "fuse.sshfs"})


@dataclass(frozen=True, slots=True)
class Machine:
    """What computes."""

    versions: dict[str, str]
    numba: str | None
    """Its version; None: it is not installed."""
    cores: int
    """That this process may use."""
    cores_there: int
    blas_threads: int
    memory_bytes: int
    memory_free: int


@dataclass(frozen=True, slots=True)
class Fit:
    """What the sizing rule gives for a workflow, and what the disk makes of it."""

    preview: Preview
    chunk_bytes: int
    step_bytes: int
    """That an update reads, and as many that it writes."""
    step_files: int
    speed: Speed | None
    """Of chunks of this size; None: not measured."""

    @property
    def step_seconds(self) -> float | None:
        """How long the disk takes for an update: reading the prior, writing the posterior."""
        if self.speed is None:
            return None
        return self.step_bytes / self.speed.read + self.step_bytes / self.speed.write


@dataclass(frozen=True, slots=True)
class Examination:
    """All that `daflow doctor` found."""

    machine: Machine
    disk: Disk
    speed: DiskSpeed | None
    fit: Fit | None
    findings: tuple[str, ...]
    """What is wrong or slow, and what to do about it."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        plain = asdict(self)
        if self.fit is not None:
            plain["fit"]["step_seconds"] = self.fit.step_seconds
        return plain


def examine(
    folder: Path, n_bytes: int | None, workflow: Workflow | None = None, watch: Watch = lambda *_: None
) -> Examination:
    """Look at this machine and at the disk under a folder.

    Parameters
    ----------
    folder
        Where runs are to go.
    n_bytes
        How many bytes may be written to measure the disk; None: it is only looked at.
    workflow
        What is to run; None: nothing in particular.
    watch
        Told of what is measured.

    Raises
    ------
    daflow.errors.InputError
        The folder cannot be used or has no room, or the workflow names what cannot be used.
    daflow.errors.StoreError
        The disk failed while it was measured.
    """
    seen = None if workflow is None else preview(workflow)
    own = () if seen is None else (_chunk_bytes(seen),)
    packing = Packing(lanes=LANES)
    if workflow is not None:
        packing = Packing(workflow.storage.codec, workflow.storage.sharding, LANES)
    speed = None if n_bytes is None else measure(folder, n_bytes, (*CHUNK_SIZES, *own), watch, packing)
    disk = disk_of(folder) if speed is None else speed.disk
    machine = machine_here()
    fit = None if seen is None else _fit(seen, speed)
    findings = [*_of_machine(machine), *_of_disk(disk)]
    if workflow is not None and fit is not None:
        findings += [*_of_fit(workflow, fit, machine, disk), *_of_chunks(fit, disk, speed)]
        findings += _of_numba(workflow, machine)
    return Examination(machine, disk, speed, fit, tuple(findings))


def machine_here() -> Machine:
    """Return what this process computes with."""
    versions = environment()  # loads the BLAS, whose threads are counted next
    threads = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = None
    memory = psutil.virtual_memory()
    there = os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    return Machine(versions, numba, cores, there, max(threads, default=1), memory.total, memory.available)


def enough(speed: DiskSpeed) -> Speed:
    """Return the smallest chunks that come close to the best that chunks reach."""
    best = max(each.share for each in speed.chunks)
    return next(each for each in speed.chunks if each.share >= ENOUGH * best)


def _chunk_bytes(seen: Preview) -> int:
    return seen.slice_size * seen.item_bytes


def _fit(seen: Preview, speed: DiskSpeed | None) -> Fit:
    chunk = _chunk_bytes(seen)
    return Fit(
        seen,
        chunk,
        seen.n_members * seen.n_state * seen.item_bytes,
        seen.step_files,
        None if speed is None else speed.at(chunk),
    )


def _of_machine(machine: Machine) -> Iterator[str]:
    if machine.cores < machine.cores_there:
        yield (
            f"this process may use {machine.cores} of the machine's {machine.cores_there} cores: "
            "give execution.workers no more than that"
        )
    if machine.memory_free < LITTLE_MEMORY:
        yield f"{machine.memory_free / 1e9:.1f} GB of memory are free: a worker alone may take 2 GB"


def _of_disk(disk: Disk) -> Iterator[str]:
    if disk.kind in IN_MEMORY:
        yield f"{disk.folder} lies in memory ({disk.kind}): a run there is gone after a reboot"
    if disk.kind in SHARED:
        yield (
            f"{disk.folder} is shared over a network ({disk.kind}): measure it from the nodes where workers "
            "run, and while others use it"
        )
    if not disk.direct:
        yield (
            "no direct I/O here: arrays go through the page cache, which takes memory and slows down once "
            "much is waiting to be written"
        )
    if disk.sync_seconds > SLOW_SYNC:
        yield (
            f"a small file takes {disk.sync_seconds * 1e3:.0f} ms until it is durable, and every task waits "
            "for a few: put runs on another disk if members take less than a second"
        )
    if disk.free_files is not None and disk.free_files < FEW_FILES:
        yield f"room for {disk.free_files:,} more files only: storage.sharding: aligned makes fewer"


def _of_chunks(fit: Fit, disk: Disk, speed: DiskSpeed | None) -> Iterator[str]:
    seen = fit.preview
    if disk.direct and fit.chunk_bytes >= SMALLEST_DIRECT and fit.chunk_bytes % ALIGNMENT:
        yield (
            f"chunks of {seen.slice_size:,} numbers do not fill blocks of the disk and go through the page "
            "cache: storage.slice_size: auto, or a multiple of 1024"
        )
    if fit.speed is None or speed is None or seen.n_slices == 1:
        return
    better = enough(speed)
    if better.chunk_bytes > fit.chunk_bytes and better.share * ENOUGH > fit.speed.share:
        numbers = min(better.chunk_bytes // seen.item_bytes, seen.n_state)
        memory = LANES * seen.item_bytes * numbers * seen.n_members
        yield (
            f"chunks of {size_of(better.chunk_bytes)} are {better.share / fit.speed.share:.1f} times as fast "
            f"here: storage.slice_size: {numbers}, if a worker has {size_of(memory)} for {LANES} slabs"
        )


def _of_numba(workflow: Workflow, machine: Machine) -> Iterator[str]:
    tapers = getattr(workflow.localization, "tapers", None)
    if machine.numba is None and tapers == LOCAL_ANALYSIS:
        yield "local analyses take three to four times as long without numba: pip install daflow[fast]"


def _of_fit(workflow: Workflow, fit: Fit, machine: Machine, disk: Disk) -> Iterator[str]:
    seen, execution = fit.preview, workflow.execution
    if seen.store_bytes > disk.free_bytes:
        yield (
            f"the run's arrays take {seen.store_bytes / 1e9:.3g} GB, {disk.free_bytes / 1e9:.3g} GB are "
            "free: name another folder, or storage.dtype: float32"
        )
    if disk.free_files is not None and seen.store_files > disk.free_files:
        yield (
            f"the run's arrays take {seen.store_files:,} files, there is room for {disk.free_files:,}: "
            "storage.sharding: aligned, or a larger storage.slice_size"
        )
    if isinstance(execution, LocalExecution):
        if execution.workers * execution.threads > machine.cores:
            yield (
                f"{execution.workers} workers of {execution.threads} threads on {machine.cores} cores: they "
                "get in each other's way unless the model waits for something else"
            )
        needed = LANES * seen.slab_bytes * execution.threads
        if needed > execution.memory_bytes:
            yield (
                f"an update holds {LANES} slabs of {size_of(seen.slab_bytes)} in each thread, more than "
                f"execution.memory = {execution.memory}: give it more, or a smaller storage.slice_size"
            )
