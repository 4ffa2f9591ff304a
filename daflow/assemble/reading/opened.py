"""A run, opened: where it stands and what it holds, as lazy xarray with the user's own dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from daflow.assemble.branching import branch_folders, plan_for, store_for
from daflow.assemble.driving.launch import Watch, drive, ignore
from daflow.assemble.driving.main_guard import check_main_guard
from daflow.assemble.folder import RunFolder, make_run, open_folder
from daflow.assemble.reading.contents import outcomes_of, report_contents
from daflow.assemble.reading.diagnosis import diagnosis
from daflow.assemble.reading.judged import desroziers, flags
from daflow.assemble.reading.step_scores import Scoring
from daflow.assemble.reading.unstacking import in_tasks, unstack
from daflow.assemble.what_if.comparison import with_analyses
from daflow.config.load import load_workflow, to_json
from daflow.config.schema import Workflow
from daflow.errors import DataError
from daflow.names import FORECAST, MEMBER, OBS, PARAMETERS, PREDICTED, SMOOTHED, Phase
from daflow.report import write_report
from daflow.runs.decide import Stop
from daflow.runs.facts import Progress, fold
from daflow.runs.journal import read_journal
from daflow.runs.lease import read_holder
from daflow.runs.orders import NONE, Orders
from daflow.runs.status import RunStatus, status_of
from daflow.storage.branch_store import root_of


class Run:
    """A run in a folder.

    Arrays are lazy: nothing is read before it is computed, and a task reads a chunk, or 4 MiB of small ones.

    Parameters
    ----------
    made
        The run's folder, as `daflow.open_run` opens it.
    """

    def __init__(self, made: RunFolder) -> None:
        self._made = made
        self._layout = made.layout
        self._plan = plan_for(made)
        self._store = store_for(made)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}): {self.status().state}"

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self._made.folder

    @property
    def workflow(self) -> Workflow:
        """What it does, every default spelled out."""
        return self._made.workflow

    @property
    def n_steps(self) -> int:
        """How many updates it makes: steps are numbered from 0, the prior, to this, the posterior.

        Where the method ends by itself, the most there can be until it has.
        """
        return self._plan.n_updates(self._progress())

    def status(self) -> RunStatus:
        """Return how the run stands now."""
        holder = read_holder(self._made.lease)
        return status_of(self.workflow.name, self._plan, self._progress(), holder)

    def resume(self, watch: Watch = ignore, *, retry_failed: bool = False, orders: Orders = NONE) -> Stop:
        """Go on from where the run stands until it stops; see `daflow.run`.

        Parameters
        ----------
        watch
            Called with every new fact and where the run stands then.
        retry_failed
            Whether members that failed in the stage at hand get new attempts, however they failed.
        orders
            Which members get new attempts or are given up, and with how few members the run goes on.
        """
        return drive(self._made, watch, orders=orders.with_failures() if retry_failed else orders)

    def branches(self) -> dict[str, Run]:
        """Return other analyses that were tried on this run's forecasts (``daflow analyse``), by name.

        Each is a run: its steps up to the analysis are this one's.
        """
        return {name: open_run(folder) for name, folder in branch_folders(self._made).items()}

    def parameters(self, step: int = -1) -> xr.Dataset:
        """Return the parameters of a step: ``(member, ...)`` with each variable's own dimensions.

        Parameters
        ----------
        step
            0 is the prior; -1 is the last step there is.

        Raises
        ------
        daflow.errors.DataError
            The step is not there yet.
        """
        step, members = self._members(step)
        opened = self._open(f"step={step}")[PARAMETERS].sel({MEMBER: list(members)})
        return self._unstacked(opened)

    def state(self, step: int = -1) -> xr.Dataset:
        """Return the state that a filter's step starts from, as `parameters`, with its ``time``.

        Parameters
        ----------
        step
            0 is the initial ensemble, k the analysis of cycle k - 1; -1 is the last step there is.

        Raises
        ------
        daflow.errors.DataError
            The run has no cycles, or the step is not there yet.
        """
        self._check_cycles()
        step, _ = self._members(step)
        return self.parameters(step).assign_coords(time=self._time(step))

    def smoothed(self, step: int = 0) -> xr.Dataset:
        """Return `state` of a step, corrected also by the cycles that follow, as many as ``cycling.lag``.

        It has the members that came through the forecasts of these cycles. After the last cycle nothing
        follows: there is no smoothed state, `state` is the last word.

        Parameters
        ----------
        step
            0 is the initial ensemble, k the analysis of cycle k - 1; -1 is the last step that is smoothed.

        Raises
        ------
        daflow.errors.DataError
            The run has no cycles or no lag, or the step is not smoothed (yet).
        """
        self._check_cycles()
        survivors = self._progress().survivors
        there = sorted(s for phase, s in survivors if phase is Phase.SMOOTH)
        step = self._checked(step, there, f"smoothed states (cycling.lag: {self._layout.lag})")
        members = survivors[Phase.FORECAST, self._layout.smoothed_by(step)[-1]]
        opened = self._open(f"step={step}")[SMOOTHED].sel({MEMBER: list(members)})
        return self._unstacked(opened).assign_coords(time=self._time(step))

    def forecast(self, step: int = -1) -> xr.Dataset:
        """Return the state that a filter's forecast of a step ends at: ``(member, ...)``, with its ``time``.

        Its analysis is `state` of the next step, and the truth at that time `truth` of the next step.

        Parameters
        ----------
        step
            The number of the cycle, from 0 on; -1 is the last one there is.

        Raises
        ------
        daflow.errors.DataError
            The run has no cycles, or the forecast is not complete yet.
        """
        self._check_cycles()
        step, members = self._forecast_members(step)
        opened = self._open(f"step={step}")[FORECAST].sel({MEMBER: members})
        return self._unstacked(opened).assign_coords(time=self._layout.cycles[step].stop)

    def predicted(self, step: int = -1) -> xr.DataArray:
        """Return the predicted observations of a step: ``(member, obs)``, with the table's coordinates.

        Parameters
        ----------
        step
            0 is the prior's forecast; -1 is the last one there is. A filter's has the observations of that
            cycle.

        Raises
        ------
        daflow.errors.DataError
            The forecast of that step is not complete yet.
        """
        step, members = self._forecast_members(step)
        array = self._open(f"step={step}")[PREDICTED].sel({MEMBER: members})
        asked = self._layout.obs_of(step)
        questions = self.observations().drop_vars(["value", "error_std"])
        return array.assign_coords(questions.isel({OBS: slice(asked.start, asked.stop)}).coords)

    def _forecast_members(self, step: int) -> tuple[int, list[int]]:
        """Return a step whose forecast is complete, and the members that have it."""
        survivors = self._progress().survivors
        there = [s for s in range(self.n_steps + 1) if (Phase.FORECAST, s) in survivors]
        step = self._checked(step, there, "forecast")
        return step, list(survivors[Phase.FORECAST, step])

    def observations(self) -> xr.Dataset:
        """Return what was observed: ``value`` and ``error_std`` along ``obs``, and the table's columns.

        In a filter ``step`` says which step forecasts them first.

        Raises
        ------
        daflow.errors.DataError
            Nothing has been observed yet.
        """
        self._check_observed()
        table = self._store.read_observations().table
        columns = {name: (OBS, column) for name, column in table.items()}
        measured = {name: columns.pop(name) for name in ("value", "error_std")}
        if self._layout.cycles:
            each = [(s, c) for s, c in enumerate(self._layout.cycles) if self._layout.first_of(s) == s]
            steps, cycles = zip(*each, strict=True)
            columns["step"] = (OBS, np.repeat(steps, [cycle.last - cycle.first for cycle in cycles]))
        return xr.Dataset(measured, coords=columns)

    def truth(self, step: int = 0) -> xr.Dataset:
        """Return the parameters of a twin experiment's truth, with each variable's own dimensions.

        Parameters
        ----------
        step
            0 is what the truth starts from. In a filter k is its state at the time of ``state(k)``: the end
            of cycle k - 1.

        Raises
        ------
        daflow.errors.DataError
            The run is no twin experiment, or its truth has not been run yet; or there is no such step.
        """
        if (Phase.TRUTH, 0) not in self._progress().survivors:
            raise DataError(f"the run in {self.folder} has no truth (yet)", do="use a twin experiment's run")
        cycles = self._layout.cycles
        if not 0 <= step <= len(cycles):
            raise DataError(f"the truth has no step {step}", got=step, allowed=f"0 to {len(cycles)}")
        group = self._open("truth")
        ended = self._layout.first_of(step) - 1
        if ended < 0:
            truth = self._unstacked(group[PARAMETERS])
        else:
            row = group[FORECAST].isel(step=[ended]).rename(step=MEMBER)
            truth = self._unstacked(row.assign_coords({MEMBER: [0]}))
        alone: xr.Dataset = truth.isel({MEMBER: 0}, drop=True)
        return alone.assign_coords(time=self._time(step)) if cycles else alone

    def _time(self, step: int) -> float:
        """Return the time at which a filter's step starts."""
        cycles = self._layout.cycles
        return cycles[step].start if step < len(cycles) else cycles[-1].stop

    def _check_cycles(self) -> None:
        if not self._layout.cycles:
            raise DataError(
                f"the run in {self.folder} has no states that are forecast: it is no filter's",
                do="ask for parameters(step), or run a workflow with the section cycling",
            )

    def diagnostics(self) -> xr.Dataset:
        """Return what tells whether the answer is any good, step by step; each says what it should be near.

        Chi-square of the innovations, degrees of freedom for signal, misfits by group of observations, how
        far updates moved the variables, what spread they left; in a twin experiment errors, scores and ranks
        of the predictions. What comes from predictions is lazy. NaN is what a step has not (yet).

        Raises
        ------
        daflow.errors.DataError
            Nothing has been observed yet.
        """
        self._check_observed()
        scoring = Scoring(self._plan, self._store, self._progress())
        return diagnosis(scoring, outcomes_of(self._made)).assign_attrs(run=self.workflow.name)

    def flags(self, step: int = -1) -> xr.DataArray:
        """Return what became of each observation of a step: see `daflow.assemble.reading.judged.flags`.

        -1 is the last step whose observations were looked at.
        """
        return flags(self._store, self._progress(), self.observations(), step)

    def desroziers(self) -> xr.Dataset:
        """Return what the run says of its observations' errors: see `daflow.assemble.reading.judged`."""
        return desroziers(self._store, self._progress(), self.n_steps)

    def report(self, path: Path | None = None) -> Path:
        """Write the report, one HTML file; return where it is (``report.html`` in the run's folder).

        Raises
        ------
        daflow.errors.DataError
            Nothing has been observed yet, so that there is nothing to tell.
        """
        self._check_observed()
        target = self.folder / "report.html" if path is None else path
        contents = report_contents(self._made, self._plan, self._store, self._progress(), self.status())
        return write_report(with_analyses(contents, self._made), target)

    def _progress(self) -> Progress:
        return fold(read_journal(self._made.journal))

    @property
    def observed(self) -> bool:
        """Whether there are observations yet: a twin experiment makes its own, a driver copies a file's."""
        progress = self._progress()
        return (Phase.TRUTH, 0) in progress.survivors if self._plan.twin else progress.sessions > 0

    def _check_observed(self) -> None:
        if self.observed:
            return
        raise DataError(
            f"the run in {self.folder} has no observations yet",
            got=f"a run that is {self.status().state}",
            do="`daflow status` tells how far it is, `daflow resume` goes on",
        )

    def _members(self, step: int) -> tuple[int, tuple[int, ...]]:
        """Return a step whose parameters are complete, and the members that have them."""
        survivors = self._progress().survivors
        made_by = {0: (Phase.PRIOR, 0)} | {s + 1: (Phase.UPDATE, s) for s in range(self.n_steps)}
        there = [s for s, stage in made_by.items() if stage in survivors]
        step = self._checked(step, there, "parameters")
        return step, survivors[made_by[step]]

    def _checked(self, step: int, there: list[int], what: str) -> int:
        wanted = there[-1] if step == -1 and there else step
        if wanted in there:
            return wanted
        raise DataError(
            f"the {what} of step {step} of the run in {self.folder} are not there",
            got=f"complete: {there or 'none'}",
            allowed=f"0 to {self.n_steps} once the run is finished",
            do="`daflow status` tells how far it is, `daflow resume` goes on",
        )

    def _open(self, group: str) -> xr.Dataset:
        opened: xr.Dataset = xr.open_zarr(
            root_of(self._store, group), group=group, consolidated=False, chunks=None
        )
        return opened.map(in_tasks, keep_attrs=True)

    def _unstacked(self, stacked: xr.DataArray) -> xr.Dataset:
        variables = {v.name: unstack(stacked, v) for v in self._layout.variables}
        return xr.Dataset(variables, attrs={"run": self.workflow.name})


def open_run(folder: str | Path) -> Run:
    """Open a run, whether it is finished or not.

    Parameters
    ----------
    folder
        The folder given to ``daflow run --run`` or to `daflow.run`.

    Raises
    ------
    daflow.errors.DataError
        There is no run.
    """
    return Run(open_folder(Path(folder)))


def run(workflow: str | Path | Workflow, run_dir: str | Path, *, watch: Watch = ignore) -> Run:
    """Run a workflow to its end and return the run.

    A folder in which this workflow was run before, in part or whole, is gone on with. Dask starts worker
    processes: a script calls this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    workflow
        A workflow file, or what `daflow.config.load.load_workflow` returns.
    run_dir
        A folder for the run, which need not exist.
    watch
        Called with every new fact and where the run stands then.

    Raises
    ------
    daflow.errors.InputError
        The workflow, or what it names, cannot be used; nothing is left behind.
    daflow.errors.RunError
        The run stopped before it was finished: too few members, a full disk, no workers.
    """
    if isinstance(workflow, Workflow):
        config, text = workflow, to_json(workflow)
    else:
        config, text = load_workflow(workflow), Path(workflow).read_text(encoding="utf-8")
    check_main_guard(config.execution)  # before anything is made
    made = make_run(config, Path(run_dir), text)
    stop, opened = drive(made, watch), Run(made)
    if opened.observed:
        opened.report()
    stop.check(made.folder)
    return opened
