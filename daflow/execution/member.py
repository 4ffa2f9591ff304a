"""The tasks of one member: draw it from the prior, forecast it, and play the truth of a twin experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from daflow.errors import OutputInvalid, StoreError
from daflow.execution.watchdog import watchdog
from daflow.execution.workbench import Stopwatch, Workbench
from daflow.names import TRUTH, Phase
from daflow.numerics.random import model_seed
from daflow.ports import FloatArray, MemberInput, ObservationTable, Store
from daflow.records import Task, Variable

MAX_NAMED = 5
"""How many bad observations an error names."""


class StoredParameters(Mapping[str, FloatArray]):
    """A member's variables, each read from the store when it is first asked for."""

    def __init__(self, store: Store, step: int, member: int, watch: Stopwatch) -> None:
        self._store, self._step, self._member, self._watch = store, step, member, watch
        self._variables: dict[str, Variable] = {v.name: v for v in store.layout.variables}
        self._loaded: dict[str, FloatArray] = {}

    def __getitem__(self, name: str) -> FloatArray:
        if name not in self._loaded:
            variable = self._variables[name]
            with self._watch.on("read"):
                values = self._store.read_member(self._step, self._member, variable.start, variable.stop)
            self._loaded[name] = values.reshape(variable.shape)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def draw(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Draw a member from the prior and write it."""
    with watch.on("write"):
        return bench.store.write_member(0, task.index, bench.prior.pieces(task.index))


def forecast(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Run the model for a member and write what it predicts."""
    predicted = _run_model(bench, task, bench.questions, watch)
    with watch.on("write"):
        return bench.store.write_predicted(task.step, task.index, predicted)


def observe_truth(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Draw the truth of a twin experiment, run the model for it, and write what is observed of it."""
    if bench.twin is None:
        return ""
    digest = bench.store.write_member(0, TRUTH, bench.prior.pieces(TRUTH))
    truth = Task(task.phase, 0, TRUTH, task.attempt)
    predicted = _run_model(bench, truth, bench.twin.table(), watch)
    digest += bench.store.write_predicted(0, TRUTH, predicted)
    bench.store.write_observations(bench.twin.observe(predicted))
    return digest


def log_folder(folder: Path, task: Task) -> Path:
    """Return where an attempt's logs are kept."""
    if task.phase in {Phase.PRIOR, Phase.FORECAST}:
        whose = f"member={task.index:05d}"
    else:
        whose = "truth" if task.phase is Phase.TRUTH else f"{task.phase}={task.index:05d}"
    return folder / "logs" / f"step={task.step}" / whose / f"attempt={task.attempt}"


def log_files(folder: Path, member: int, step: int | None) -> list[Path]:
    """Return the log files of a member's attempts, in order; of one step, or of all (None)."""
    which = "*" if step is None else str(step)
    name = "truth" if member == TRUTH else f"member={member:05d}"
    return sorted(p for p in folder.glob(f"logs/step={which}/{name}/attempt=*/*") if p.is_file())


def _run_model(bench: Workbench, task: Task, table: ObservationTable, watch: Stopwatch) -> FloatArray:
    log_dir, work_dir = _folders(bench.folder, task)
    parameters = StoredParameters(bench.store, task.step, task.index, watch)
    seed = model_seed(bench.seed, task.step, task.index)
    given = MemberInput(task.index, task.step, parameters, table, seed, work_dir, log_dir)
    try:
        with watch.on("model"), watchdog(bench.timeout, log_dir):
            predicted = bench.model.forecast(given)
    finally:
        _tidy(work_dir, log_dir, log_dir.parent)
    watch.figures["model_seconds"] -= watch.figures.get("read_seconds", 0.0)
    return _checked(np.asarray(predicted, dtype=np.float64), len(table["name"]))


def _folders(folder: Path, task: Task) -> tuple[Path, Path]:
    """Make the folders of an attempt: for what is kept, and for files of its own."""
    log_dir = log_folder(folder, task)
    place = folder / "work" / f"step={task.step}"
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        # The name is new each time: an attempt whose worker was lost may still be writing in its own.
        work_dir = tempfile.mkdtemp(prefix=f"member={task.index:05d}-{task.attempt}-", dir=place)
    except OSError as error:
        raise StoreError(
            f"cannot make the folders of an attempt in {folder}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error
    return log_dir, Path(work_dir)


def _tidy(*folders: Path) -> None:
    """Remove the attempt's folders in which the model left nothing: ten thousand members are many inodes."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _checked(predicted: FloatArray, n_obs: int) -> FloatArray:
    if predicted.shape != (n_obs,):
        raise OutputInvalid(
            "the model's predictions have the wrong shape",
            got=predicted.shape,
            allowed=f"({n_obs},): one number an observation",
        )
    bad = np.flatnonzero(~np.isfinite(predicted))
    if bad.size:
        named = ", ".join(f"{i}: {predicted[i]}" for i in bad[:MAX_NAMED])
        raise OutputInvalid(
            "the model's predictions are not finite",
            got=f"{bad.size} of {n_obs}, the first ones {named}",
            allowed="finite numbers",
        )
    return predicted
