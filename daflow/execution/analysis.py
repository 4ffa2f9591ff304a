"""The tasks of an analysis: where the state lies, what a step needs once, and one slice's update."""

from __future__ import annotations

import numpy as np

from daflow.errors import RunError
from daflow.execution.places import locate
from daflow.execution.workbench import Stopwatch, Workbench, factors_of
from daflow.numerics.precision import store_into
from daflow.numerics.transforms import clip
from daflow.ports import FloatArray
from daflow.records import Layout, StateSlice, Task

SPREAD_BEFORE, SPREAD_AFTER = "spread_before.", "spread_after."
"""Figures of an update, one a variable: the sum over its numbers of the ensemble's standard deviation."""
BLOCK = 4096
"""Numbers of each member that are looked at together: they fit the cache."""


def write_coordinates(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Write where the numbers of a slice lie."""
    where = bench.store.layout.slice(task.index)
    with watch.on("write"):
        return bench.store.write_coordinates(where, locate(bench.store.layout, where))


def prepare(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Do what the step needs once, in the space of observations and members, and keep it."""
    members = bench.store.read_survivors(task.step)

    def predicted(start: int, stop: int) -> FloatArray:
        with watch.on("read"):
            return bench.store.read_predicted(task.step, members, start, stop)

    with watch.on("compute"):
        factors = bench.method.prepare(task.step, members, predicted)
    watch.figures["compute_seconds"] -= watch.figures.get("read_seconds", 0.0)
    with watch.on("write"):
        bench.store.write_arrays(factors_of(task.step), factors)
    return ""


def update(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Update one slice of every surviving member and write it to the next step."""
    layout = bench.store.layout
    where = layout.slice(task.index)
    members = bench.store.read_survivors(task.step)
    slab = bench.store.slab(len(members))
    with watch.on("read"):
        bench.store.read_slice(task.step, where, members, slab)
    prior = slab[:, : where.size].astype(np.float64, copy=False)
    with watch.on("compute"):
        watch.figures |= _spread(SPREAD_BEFORE, layout, where, prior)
        posterior, n_clipped = _in_each_space(bench, task.step, prior, where, members)
        watch.figures |= _spread(SPREAD_AFTER, layout, where, posterior)
    with watch.on("write"):
        store_into(slab[:, : where.size], posterior)
        digest = bench.store.write_slice(task.step + 1, where, members, slab)
    watch.figures["clipped"] = n_clipped
    return digest


def _in_each_space(
    bench: Workbench, step: int, prior: FloatArray, where: StateSlice, members: tuple[int, ...]
) -> tuple[FloatArray, int]:
    """Update in the spaces that the variables are transformed to, and come back."""
    variables = bench.store.layout.variables
    segments = [
        (bench.margins[variables.index(variable)], slice(a, b))
        for variable, a, b in bench.store.layout.segments(where)
    ]
    fitted = [margins.transform.fit(prior[:, columns]) for margins, columns in segments]
    for transform, (_, columns) in zip(fitted, segments, strict=True):
        prior[:, columns] = transform.forward(prior[:, columns])
    posterior = prior
    bench.method.apply(bench.factors(step), bench.places(where), posterior)
    _check(posterior, where, members)
    n_clipped = 0
    for transform, (margins, columns) in zip(fitted, segments, strict=True):
        back = transform.inverse(posterior[:, columns])
        if margins.clip is not None:
            back, n = clip(back, *margins.clip)
            n_clipped += n
        posterior[:, columns] = back
    return posterior, n_clipped


def _spread(which: str, layout: Layout, where: StateSlice, values: FloatArray) -> dict[str, float]:
    return {
        which + variable.name: sum(
            float(values[:, block : min(block + BLOCK, stop)].std(axis=0, ddof=1).sum())
            for block in range(start, stop, BLOCK)
        )
        for variable, start, stop in layout.segments(where)
    }


def _check(posterior: FloatArray, where: StateSlice, members: tuple[int, ...]) -> None:
    # A sum is finite only if every term is, up to overflow, which the mask then tells apart.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(posterior.sum()):
            return
    bad = np.argwhere(~np.isfinite(posterior))
    if len(bad):
        row, column = bad[0]
        raise RunError(
            f"the update of slice {where.index} is not finite",
            got=f"{posterior[row, column]} for member {members[row]} at state {where.start + column}",
            allowed="finite numbers",
            do="look at that member's predictions and at the transform of the variable there",
        )
