from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.errors import EnsembleError, RunError, StoreError
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Close, Dispatch, Plan, Stop, decide
from daflow.runs.facts import fold
from daflow.runs.policy import Policy, retries_of

MEMBERS = (0, 1, 2, 3)
ENDS = [Status.FAILED, Status.INVALID, Status.TIMED_OUT, Status.CANCELLED, Status.LOST]
RETRIES = st.dictionaries(st.sampled_from(ENDS), st.integers(0, 3)).map(retries_of)
STOP_ON = st.frozensets(st.sampled_from(ENDS), max_size=2)
PLAN = Plan(MEMBERS, n_steps=1, n_slices=2, twin=False, keys={})
FORECAST = (Phase.FORECAST, 0)


def at(stage, *ends, survivors=MEMBERS):
    """Return the progress of a run that has come to a stage, with these ends (index, status) there."""
    before = PLAN.stages[: PLAN.stages.index(stage)]
    closed = [facts.closed(s, survivors) for s in before]
    counted, ended = {}, []
    for index, status in ends:
        attempt = counted[index] = counted.get(index, -1) + 1
        ended.append(facts.ended(Outcome(Task(*stage, index, attempt), status, reason="because")))
    return fold([*closed, *ended])


def sent(decision):
    assert isinstance(decision, Dispatch)
    return [(task.index, task.attempt) for task in decision.tasks]


def test_that_the_stages_follow_each_other_in_the_order_of_the_phases():
    names = [f"{phase}{step}" for phase, step in Plan(MEMBERS, 2, 3, twin=True, keys={}).stages]
    assert names == [
        "coordinates0",
        "truth0",
        "prior0",
        *("forecast0", "prepare0", "update0"),
        *("forecast1", "prepare1", "update1"),
        "forecast2",
    ]
    assert (Phase.TRUTH, 0) not in PLAN.stages


def test_that_a_method_that_surveys_sees_every_slice_before_any_is_updated():
    stages = Plan(MEMBERS, 1, 3, twin=False, keys={}, surveys=True).stages
    assert stages[-5:] == (
        (Phase.PREPARE, 0),
        (Phase.SURVEY, 0),
        (Phase.CONCLUDE, 0),
        (Phase.UPDATE, 0),
        (Phase.FORECAST, 1),
    )


def test_that_analyses_of_a_filter_end_with_the_last_update():
    assert Plan(MEMBERS, 2, 3, twin=False, keys={}, last_forecast=False).stages[-1] == (Phase.UPDATE, 1)


def test_that_smoothing_is_the_end_of_a_run_and_waits_for_the_last_analysis():
    plan = Plan(MEMBERS, 3, 2, twin=False, keys={}, last_forecast=False, smooths=True)
    assert plan.stages[-4:] == ((Phase.UPDATE, 2), *((Phase.SMOOTH, step) for step in range(3)))
    assert tuple(plan.indices(Phase.SMOOTH, MEMBERS)) == (0, 1)
    # A run that is laid down before its last analysis smooths nothing; one that is not, all.
    assert replace(plan, pause=1).stages[-1] == (Phase.UPDATE, 1)
    assert replace(plan, pause=2).stages == plan.stages
    # What a branch begins from is its parent's, and smoothed there.
    assert replace(plan, branched=1).stages[-1] == (Phase.SMOOTH, 2)
    assert (Phase.SMOOTH, 1) not in replace(plan, branched=1).stages
    assert not any(phase is Phase.SMOOTH for phase, _ in replace(plan, smooths=False).stages)


def test_that_a_branch_begins_with_the_analysis_of_its_step():
    plan = Plan(MEMBERS[1:], 3, 2, twin=True, keys={}, surveys=True, branched=1)
    whole = Plan(MEMBERS, 3, 2, twin=True, keys={}, surveys=True)
    assert plan.stages == whole.stages[whole.stages.index((Phase.PREPARE, 1)) :]
    taken = [facts.closed(stage, MEMBERS) for stage in whole.stages if stage not in plan.stages]
    assert sent(decide(fold(taken), plan, Policy())) == [(0, 0)]
    assert Plan(MEMBERS, 3, 2, twin=False, keys={}, branched=0).stages[0] == (Phase.PREPARE, 0)


@pytest.mark.parametrize(("pause", "last_forecast", "kind"), [(0, True, "analysed"), (0, False, "analysed")])
def test_that_a_run_may_be_laid_down_after_an_analysis_and_gone_on_with(pause, last_forecast, kind):
    plan = Plan(MEMBERS, 2, 2, twin=False, keys={}, last_forecast=last_forecast, pause=pause)
    assert plan.stages[-1] == (Phase.UPDATE, pause)
    progress = fold([facts.closed(stage, MEMBERS) for stage in plan.stages])
    stop = decide(progress, plan, Policy())
    assert (stop.kind, stop.resumable) == (kind, True)
    stop.check("run")
    on = decide(progress, replace(plan, pause=None), Policy())
    assert on.stage == (Phase.FORECAST, 1)


def test_that_the_last_analysis_of_a_filter_is_the_end_of_it():
    plan = Plan(MEMBERS, 2, 2, twin=False, keys={}, last_forecast=False, pause=1)
    assert decide(fold([facts.closed(s, MEMBERS) for s in plan.stages]), plan, Policy()).kind == "finished"


@pytest.mark.parametrize("phase", [Phase.PREPARE, Phase.CONCLUDE])
def test_that_a_method_may_end_before_the_most_steps_there_might_be(phase):
    plan = Plan(MEMBERS, 5, 2, twin=False, keys={}, surveys=True)
    last = Outcome(Task(phase, 1, 0), Status.OK, figures={"last": 1.0})
    progress = fold([facts.ended(last)])
    assert plan.n_updates(fold([])) == 5
    assert plan.n_updates(progress) == 2
    assert plan.stages_of(progress)[-2:] == ((Phase.UPDATE, 1), (Phase.FORECAST, 2))
    for stage in plan.stages_of(progress):
        progress.take(facts.closed(stage, MEMBERS))
    assert decide(progress, plan, Policy()).kind == "finished"


@pytest.mark.parametrize(
    ("phase", "count"),
    [(Phase.COORDINATES, 2), (Phase.PRIOR, 4), (Phase.FORECAST, 4), (Phase.PREPARE, 1), (Phase.UPDATE, 2)],
)
def test_that_each_phase_has_a_task_a_member_or_a_slice_or_one(phase, count):
    assert sent(decide(at((phase, 0)), PLAN, Policy())) == [(index, 0) for index in range(count)]


def test_that_what_is_done_or_out_is_not_sent_again():
    progress = at(FORECAST, (0, Status.OK), (1, Status.LOST))
    out = [Task(*FORECAST, 3)]
    assert sent(decide(progress, PLAN, Policy(), out)) == [(1, 1), (2, 0)]


def test_that_a_stage_waits_for_what_is_out_and_closes_when_all_is_done():
    progress = at(FORECAST, *((member, Status.OK) for member in (3, 0, 1)))
    assert sent(decide(progress, PLAN, Policy(), [Task(*FORECAST, 2)])) == []
    progress.take(facts.ended(Outcome(Task(*FORECAST, 2), Status.OK)))
    assert decide(progress, PLAN, Policy()) == Close(FORECAST, MEMBERS)


def test_that_only_survivors_are_forecast():
    assert sent(decide(at(FORECAST, survivors=(0, 3)), PLAN, Policy())) == [(0, 0), (3, 0)]


def test_that_a_run_whose_stages_are_all_closed_is_finished():
    progress = fold(facts.closed(stage, MEMBERS) for stage in PLAN.stages)
    assert decide(progress, PLAN, Policy()) == Stop("finished", "all steps are done", resumable=False)


OK, FAILED, LOST, INVALID = Status.OK, Status.FAILED, Status.LOST, Status.INVALID
TIMED_OUT, CANCELLED = Status.TIMED_OUT, Status.CANCELLED


@pytest.mark.parametrize(
    ("ends", "retries", "again"),
    [
        ([FAILED], {}, False),
        ([TIMED_OUT], {}, False),
        ([CANCELLED], {}, False),
        ([FAILED], {FAILED: 1}, True),
        ([TIMED_OUT, FAILED], {TIMED_OUT: 1, FAILED: 1}, True),
        ([TIMED_OUT, TIMED_OUT], {TIMED_OUT: 1}, False),
        ([CANCELLED], {CANCELLED: 1}, True),
        ([LOST], {LOST: 0}, False),
        ([LOST], {LOST: 1}, True),
        ([LOST, LOST], {LOST: 1}, False),
        ([INVALID, LOST, LOST, INVALID], {}, True),
        ([INVALID, LOST, LOST, INVALID, INVALID], {}, False),
        ([FAILED, LOST], {}, False),
        ([LOST, FAILED], {}, False),
        ([INVALID, INVALID, INVALID], {INVALID: 2}, False),
    ],
)
def test_that_each_end_is_tried_again_as_often_as_is_allowed_for_it_alone(ends, retries, again):
    progress = at(FORECAST, *((1, status) for status in ends))
    tasks = sent(decide(progress, PLAN, Policy(retries_of(retries))))
    assert ((1, len(ends)) in tasks) == again
    assert {index for index, _ in tasks} == ({0, 1, 2, 3} if again else {0, 2, 3})


def test_that_a_stage_closes_with_those_that_came_through():
    progress = at(FORECAST, (0, OK), (1, FAILED), (2, OK), (3, OK))
    assert decide(progress, PLAN, Policy()) == Close(FORECAST, (0, 2, 3))


def test_that_too_few_members_stop_the_run_as_soon_as_it_is_sure():
    progress = at(FORECAST, (1, FAILED), (3, FAILED))
    stop = decide(progress, PLAN, Policy(min_members=3))
    assert isinstance(stop, Stop)
    assert (stop.kind, stop.resumable) == ("too few members", True)
    assert "2 of 4 members are left in the forecast of step 0, the policy asks for 3" in stop.reason
    assert "member 1, failed: because" in stop.reason
    assert isinstance(decide(progress, PLAN, Policy(min_members=2)), Dispatch)


@pytest.mark.parametrize(("status", "resumable"), [(FAILED, False), (INVALID, False), (LOST, True)])
@pytest.mark.parametrize("phase", [Phase.COORDINATES, Phase.PREPARE, Phase.UPDATE])
def test_that_a_task_of_the_analysis_that_cannot_be_had_stops_the_run(phase, status, resumable):
    stop = decide(at((phase, 0), (0, status)), PLAN, Policy(retries_of({INVALID: 0, LOST: 0})))
    assert isinstance(stop, Stop)
    assert (stop.kind, stop.resumable) == ("task failed", resumable)
    assert f"{phase} 0 of step 0 {status}: because" in stop.reason


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("too few members", EnsembleError),
        ("member failed", EnsembleError),
        ("blocked", StoreError),
        ("task failed", RunError),
    ],
)
@pytest.mark.parametrize("resumable", [True, False])
def test_that_a_stop_raises_the_error_of_its_kind_with_what_to_do(kind, error, resumable):
    with pytest.raises(error, match="stopped: reason") as raised:
        Stop(kind, "reason", resumable=resumable).check("runs/egg")
    assert type(raised.value) is error
    assert ("daflow resume runs/egg" in raised.value.do) == resumable


def test_that_a_finished_run_raises_nothing():
    Stop("finished", "", resumable=False).check("runs/egg")


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(MEMBERS), st.sampled_from(Status)), max_size=12),
    st.sets(st.sampled_from(MEMBERS)),
    st.builds(Policy, RETRIES, min_members=st.integers(1, 4), stop_on=STOP_ON),
)
def test_that_every_decision_is_about_what_is_not_settled_and_is_the_same_each_time(ends, out, policy):
    progress = at(FORECAST, *ends)
    in_flight = [Task(*FORECAST, index, 9) for index in out]
    decision = decide(progress, PLAN, policy, in_flight)
    assert decide(progress, PLAN, policy, in_flight[::-1]) == decision
    done = progress.done.get(FORECAST, set())
    match decision:
        case Dispatch(stage, tasks):
            assert stage == FORECAST
            assert not {task.index for task in tasks} & (done | out)
            assert len(set(tasks)) == len(tasks)
            assert not set(tasks) & progress.seen
        case Close(stage, survivors):
            assert stage == FORECAST
            assert set(survivors) == done & set(MEMBERS)
            assert len(survivors) >= policy.min_members or done >= set(MEMBERS)
        case Stop(kind, reason):
            assert kind != "finished"
            assert reason
