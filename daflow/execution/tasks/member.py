"""The tasks of one member: draw it from the prior, forecast it, and play the truth of a twin experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from daflow.errors import DaflowError, GivenUp, PredictionsMissing, StoreError
from daflow.execution.tasks.answers import Answer, advanced, predicted_of, usable
from daflow.execution.tasks.watchdog import watchdog
from daflow.execution.tasks.workbench import Stopwatch, View, Workbench, rows_of
from daflow.names import TRUTH, Phase, Status
from daflow.numerics.arrays.random import model_seed
from daflow.ports import Advanced, FloatArray, MemberInput, ObservationTable, Store
from daflow.records import Task, Variable

Doing = Callable[[Workbench, Task, Stopwatch], str]
"""What an attempt does; it returns a checksum of what it wrote."""


GIVEN_UP_SECONDS: Final = 5.0
"""A member that took less is written at once: no worker is given up so soon, and looking costs as much."""
NO_VIEWS: Final[Mapping[str, View]] = MappingProxyType({})


class StoredParameters(Mapping[str, FloatArray]):
    """A member's variables, each read from the store when it is first asked for."""

    def __init__(
        self, store: Store, step: int, member: int, watch: Stopwatch, views: Mapping[str, View] = NO_VIEWS
    ) -> None:
        self._store, self._step, self._member, self._watch = store, step, member, watch
        self._views = views
        self._variables: dict[str, Variable] = {v.name: v for v in store.layout.variables}
        self._loaded: dict[str, FloatArray] = {}

    def __getitem__(self, name: str) -> FloatArray:
        if name not in self._loaded:
            variable = self._variables[name]
            with self._watch.on("read"):
                values = self._store.read_member(self._step, self._member, variable.start, variable.stop)
            seen = values.reshape(variable.shape)
            self._loaded[name] = self._views[name](seen) if name in self._views else seen
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


class AttemptInput(MemberInput):
    """What a model gets to forecast one member; what costs something is made when it is first asked for."""

    __slots__ = ("_folder", "_log_dir", "_root_seed", "_seed", "_seed_step", "_work_dir", "task")
    task: Task
    _folder: Path
    _root_seed: int
    _seed: int | None
    _seed_step: int
    _log_dir: Path | None
    _work_dir: Path | None

    def __init__(
        self, bench: Workbench, task: Task, table: ObservationTable, parameters: Mapping[str, FloatArray]
    ) -> None:
        given: dict[str, object] = {"member": task.index, "step": task.step, "parameters": parameters}
        given |= {"observations": table, "task": task, "_folder": bench.folder, "_root_seed": bench.seed}
        # A cycle that is forecast again has the same noise.
        given["_seed_step"] = bench.store.layout.first_of(task.step)
        for name, value in (given | {"_seed": None, "_log_dir": None, "_work_dir": None}).items():
            object.__setattr__(self, name, value)

    @property
    def seed(self) -> int:
        """For the model's own noise: the same for the same member and step, whatever happened before."""
        seed = self._seed
        if seed is None:
            seed = model_seed(self._root_seed, self._seed_step, self.member)
            object.__setattr__(self, "_seed", seed)
        return seed

    @property
    def log_dir(self) -> Path:
        """What is written here is kept with the run (``daflow logs``)."""
        path = self._log_dir
        if path is None:
            path = log_folder(self._folder, self.task)
            with _no_folders(self._folder):
                path.mkdir(parents=True, exist_ok=True)
            object.__setattr__(self, "_log_dir", path)
        return path

    @property
    def work_dir(self) -> Path:
        """An empty directory of this attempt's own, for files."""
        path = self._work_dir
        if path is None:
            task, place = self.task, self._folder / "work" / f"step={self.task.step}"
            with _no_folders(self._folder):
                place.mkdir(parents=True, exist_ok=True)
                # The name is new each time: an attempt whose worker was lost may still be writing in its own.
                prefix = f"member={task.index:05d}-{task.attempt}-"
                path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            object.__setattr__(self, "_work_dir", path)
        return path

    def tidy(self) -> None:
        """Remove the folders in which the model left nothing: ten thousand members are many inodes."""
        above = None if self._log_dir is None else self._log_dir.parent
        for folder in (self._work_dir, self._log_dir, above):
            if folder is not None:
                with suppress(OSError):
                    folder.rmdir()


@contextmanager
def _no_folders(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot make the folders of an attempt in {folder}",
            got=f"{error.strerror} ({type(error).__name__})",
            do="free space or mend the permissions there, then `daflow resume` the run: nothing is lost",
        ) from error


def draw(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Draw a member from the prior and write it."""
    with watch.on("write"):
        return bench.store.write_member(0, task.index, bench.prior.pieces(task.index))


def forecast(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Run the model for a member and write what it predicts; in a filter also where it carries the state."""
    answer = _run_model(bench, _input(bench, task, watch), watch)
    if watch.figures["model_seconds"] > GIVEN_UP_SECONDS:
        _see_that_nobody_else_has_done_it(bench, task)
    return _keep(bench, task, watch, answer)


def _see_that_nobody_else_has_done_it(bench: Workbench, task: Task) -> None:
    """Let a worker that was given up, and goes on after all, write over nothing that others have used.

    Raises
    ------
    daflow.errors.GivenUp
        The task is done.
    """
    key = bench.keys[task.phase, task.step]
    for outcome in bench.store.receipts_of(task.phase, task.step, lambda other: other.index != task.index):
        if outcome.task.index == task.index and outcome.status is Status.OK and outcome.key == key:
            raise GivenUp(
                "this worker was given up: what it was at has been done elsewhere",
                got=f"{task.label}, done on {outcome.host} as attempt {outcome.task.attempt}",
                do="nothing: what it came to is let go",
            )


def forecast_lot(bench: Workbench, tasks: Sequence[Task]) -> Mapping[Task, Doing]:
    """Run a model that takes several members for these at once; return what is left to do for each.

    Nothing is returned where the call itself failed: then each member is to be forecast alone.
    """
    model: Any = bench.model
    watch = Stopwatch()
    given = [_input(bench, task, watch) for task in tasks]
    cycle = bench.store.layout.cycle(tasks[0].step)
    try:
        with watch.on("model"):
            if cycle is None:
                results = model.forecast_many(given)
            else:
                results = model.advance_many(given, cycle.start, cycle.stop)
    except (Exception, SystemExit):  # noqa: BLE001 - alone, each member's own attempt says what is wrong
        return {}
    finally:
        for each in given:
            each.tidy()
    watch.figures["model_seconds"] -= watch.figures.get("read_seconds", 0.0)
    share = {name: seconds / len(tasks) for name, seconds in watch.figures.items()}
    return {task: partial(_end_of_lot, result, share) for task, result in zip(tasks, results, strict=True)}


def _end_of_lot(
    result: Answer | DaflowError,
    share: Mapping[str, float],
    bench: Workbench,
    task: Task,
    watch: Stopwatch,
) -> str:
    watch.lend(share)
    return _keep(bench, task, watch, result)


def _input(bench: Workbench, task: Task, watch: Stopwatch) -> AttemptInput:
    parameters = StoredParameters(bench.store, task.step, task.index, watch, bench.views)
    return AttemptInput(bench, task, bench.questions_of(task.step), parameters)


def _keep(bench: Workbench, task: Task, watch: Stopwatch, answer: Answer | DaflowError) -> str:
    store, step, member, digest = bench.store, task.step, task.index, ""
    predicted = usable(predicted_of(answer), bench.questions_of(step), bench.missing)
    if isinstance(answer, Advanced):
        before = StoredParameters(store, step, member, watch)
        state = advanced(before, answer.state, store.layout, bench.views)
        with watch.on("write"):
            digest = store.forecasts.write_member(step, member, state.values())
    with watch.on("write"):
        return digest + store.write_predicted(step, member, predicted)


def observe_truth(bench: Workbench, task: Task, watch: Stopwatch) -> str:
    """Draw the truth of a twin experiment, run the model for it, and write what is observed of it."""
    if bench.twin is None:
        return ""
    digest = bench.store.write_member(0, TRUTH, bench.prior.pieces(TRUTH))
    # A filter's truth goes from cycle to cycle as its members do, but no analysis changes it on the way.
    follow = _follow_truth if bench.store.layout.cycles else _forecast_truth
    predicted = follow(bench, task, watch, bench.twin.table())
    digest += bench.store.write_predicted(0, TRUTH, predicted)
    bench.store.write_observations(bench.twin.observe(predicted))
    return digest


def _forecast_truth(bench: Workbench, task: Task, watch: Stopwatch, table: ObservationTable) -> FloatArray:
    parameters = StoredParameters(bench.store, 0, TRUTH, watch, bench.views)
    given = AttemptInput(bench, Task(task.phase, 0, TRUTH, task.attempt), table, parameters)
    # A truth is observed as it is: nothing of it may be missing.
    return usable(predicted_of(_run_model(bench, given, watch)), table, None)


def _follow_truth(bench: Workbench, task: Task, watch: Stopwatch, table: ObservationTable) -> FloatArray:
    """Carry the truth through all cycles; write where it is at the end of each, return what it predicts."""
    layout, predicted = bench.store.layout, []
    state: Mapping[str, FloatArray] = StoredParameters(bench.store, 0, TRUTH, watch)
    for step in range(len(layout.cycles)):
        if layout.first_of(step) < step:
            # A repeated cycle: the truth goes through it once.
            with watch.on("write"):
                bench.store.forecasts.write_member(step, TRUTH, state.values())
            continue
        rows = rows_of(table, layout.obs_of(step))
        seen = {name: bench.views[name](values) for name, values in state.items() if name in bench.views}
        attempt = Task(task.phase, step, TRUTH, task.attempt)
        answer = _run_model(bench, AttemptInput(bench, attempt, rows, {**state, **seen}), watch)
        predicted.append(usable(predicted_of(answer), rows, None))
        state = advanced(state, answer.state if isinstance(answer, Advanced) else {}, layout, bench.views)
        with watch.on("write"):
            bench.store.forecasts.write_member(step, TRUTH, state.values())
    return np.concatenate(predicted)


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


def _run_model(bench: Workbench, given: AttemptInput, watch: Stopwatch) -> Answer | DaflowError:
    """Return what the model answers, or the error that says no more than that predictions are missing."""
    model: Any = bench.model
    cycle = bench.store.layout.cycle(given.step)
    limit = nullcontext() if bench.timeout is None else watchdog(bench.timeout, given.log_dir)
    before = watch.figures.get("read_seconds", 0.0)
    answer: Answer | DaflowError
    try:
        with watch.on("model"), limit:
            answer = model.forecast(given) if cycle is None else model.advance(given, cycle.start, cycle.stop)
    except PredictionsMissing as error:
        answer = error
    finally:
        given.tidy()
    watch.figures["model_seconds"] -= watch.figures.get("read_seconds", 0.0) - before
    return answer
