"""What a run would take: counted as the run counts, and by laws that costs have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.assemble.looking_ahead.planning import Machine, forecast_seconds_of, plan_run
from daflow.assemble.reading.contents import outcomes_of
from daflow.config.load import load_workflow
from daflow.errors import ConfigError, DataError
from daflow.names import Phase
from tests.end_to_end.small_run import RING, run_inline, written

HOUR = Machine(3600.0)
SLURM = "execution={kind: slurm, jobs: 4, cores: 2, threads: 2, memory: 4GB, walltime: '04:00:00'}"


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    return written(tmp_path_factory.mktemp("planned"), RING)


def estimate(workflow, *overrides, machine=HOUR):
    return plan_run(load_workflow(workflow, overrides), machine)


def test_that_tasks_and_files_are_those_of_the_run(workflow, tmp_path):
    run = run_inline(workflow, tmp_path / "run")
    planned = {stage.phase: stage.tasks for stage in estimate(workflow).stages}
    for phase in (Phase.PRIOR, Phase.FORECAST, Phase.PREPARE, Phase.UPDATE):
        assert planned[phase] == sum(o.task.phase is phase for o in outcomes_of(run._made)), phase
    arrays = [
        p
        for name in ("parameters", "predicted")
        for p in run.folder.glob(f"ensemble.zarr/step=*/{name}/c/*/*")
    ]
    assert estimate(workflow).files == len(arrays) + sum(planned.values())


def test_that_what_a_forecast_takes_is_learnt_from_a_run(workflow, tmp_path):
    run = run_inline(workflow, tmp_path / "run")
    took = sorted(o.seconds for o in outcomes_of(run._made) if o.task.phase is Phase.FORECAST)
    assert took[0] <= forecast_seconds_of(run._made) <= took[-1]
    (run.folder / "journal.jsonl").write_text("")
    with pytest.raises(DataError, match="no forecast has ended well"):
        forecast_seconds_of(run._made)


def test_that_long_forecasts_go_in_waves(workflow):
    # 20 members on 8 slots are three waves, at each of four forecasts.
    found = estimate(workflow, SLURM)
    forecast = next(stage for stage in found.stages if stage.phase == Phase.FORECAST)
    assert forecast.seconds == pytest.approx(4 * 3 * 3600)
    assert found.slots == found.forecasts_at_once == 8
    assert found.core_hours == pytest.approx(8 * found.seconds / 3600)
    # Twelve hours and a bit, in jobs that have a little less than four each.
    assert found.worker_jobs == 4 * 4
    assert found.worker_limit == 4e9


@settings(max_examples=20)
@given(st.integers(1, 64), st.integers(1, 64), st.floats(0.001, 1e4))
def test_that_more_slots_never_take_longer(workflow, few, more, seconds):
    low, high = sorted((few, more))
    machine = Machine(seconds, low)
    one, other = (estimate(workflow, machine=replace(machine, slots=n)) for n in (low, high))
    assert other.seconds <= one.seconds * (1 + 1e-12)


def test_that_more_members_are_more_of_everything(workflow):
    one, two = (estimate(workflow, f"ensemble.size={n}") for n in (20, 40))
    for name in ("tasks", "store_bytes", "moved_bytes", "files", "worker_bytes", "seconds"):
        assert getattr(two, name) > getattr(one, name), name


def test_that_an_unknown_forecast_leaves_time_unknown_and_says_so(workflow):
    found = estimate(workflow, SLURM, machine=Machine())
    assert found.seconds is found.core_hours is None
    assert found.worker_jobs == 0
    assert any("--forecast-seconds" in each for each in found.warnings)
    assert found.tasks == estimate(workflow, SLURM).tasks


def test_that_a_scheduler_elsewhere_has_to_be_told_of(workflow):
    elsewhere = "execution={kind: address, address: 'tcp://127.0.0.1:8786'}"
    with pytest.raises(ConfigError, match="how many tasks run at once"):
        estimate(workflow, elsewhere)
    assert estimate(workflow, elsewhere, machine=Machine(1.0, 64)).slots == 64


@pytest.mark.parametrize(
    ("overrides", "seconds", "said"),
    [
        (["execution.memory=200MB"], 1.0, "give workers more memory"),
        ([SLURM], 5 * 3600.0, "raise execution.walltime"),
        (
            [SLURM.replace("jobs", "member: {kind: job, walltime: '00:10:00'}, jobs")],
            3600.0,
            "raise execution.member.walltime",
        ),
    ],
)
def test_that_what_cannot_go_well_is_told(workflow, overrides, seconds, said):
    assert any(said in each for each in estimate(workflow, *overrides, machine=Machine(seconds)).warnings)


def test_that_members_of_their_own_are_jobs_of_their_own(workflow):
    member = "member: {kind: job, walltime: '02:00:00', at_once: 5}, jobs"
    found = estimate(workflow, SLURM.replace("jobs", member))
    assert (found.member_jobs, found.forecasts_at_once) == (80, 5)
    forecast = next(stage for stage in found.stages if stage.phase == Phase.FORECAST)
    assert forecast.seconds == pytest.approx(4 * 4 * 3600)
    assert found.warnings == ()
