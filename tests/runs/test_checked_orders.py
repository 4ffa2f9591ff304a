import pytest

from daflow.errors import DataError
from daflow.names import Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.checked_orders import check_orders
from daflow.runs.decide import Close, Plan, Stop, decide
from daflow.runs.facts import fold
from daflow.runs.orders import ALL_FAILURES, NONE, Orders
from daflow.runs.policy import Policy

MEMBERS = (0, 1, 2, 3, 5)
PLAN = Plan(MEMBERS, n_steps=1, n_slices=2, twin=False, keys={})
FORECAST, UPDATE = (Phase.FORECAST, 0), (Phase.UPDATE, 0)


def members(*numbers):
    return Orders(members=frozenset(numbers))


def drop(*numbers, **others):
    return Orders(drop=frozenset(numbers), **others)


def retry(*ends):
    return Orders(retry=frozenset(ends))


def ended(index, status, stage=FORECAST):
    return facts.ended(Outcome(Task(*stage, index), status, reason="because"))


def at(stage, *more, survivors=MEMBERS):
    before = PLAN.stages if stage is None else PLAN.stages[: PLAN.stages.index(stage)]
    closes = [
        facts.closed(each, survivors if each[0] is not Phase.COORDINATES else MEMBERS) for each in before
    ]
    return fold([*closes, *more])


def asked(orders, progress, policy=None):
    return check_orders(orders, progress, PLAN, policy or Policy())


@pytest.mark.parametrize("stage", [*PLAN.stages, None])
def test_that_no_orders_can_always_be_kept_to(stage):
    assert asked(NONE, at(stage)) is None
    # A script may always ask: where nobody failed there is nobody to try again.
    assert asked(Orders(retry=ALL_FAILURES), at(stage)) is None


@pytest.mark.parametrize(
    ("stage", "where"),
    [
        ((Phase.COORDINATES, 0), (Phase.PRIOR, 0)),
        ((Phase.PRIOR, 0), (Phase.PRIOR, 0)),
        (FORECAST, FORECAST),
        ((Phase.FORECAST, 1), (Phase.FORECAST, 1)),
    ],
)
def test_that_members_are_dropped_in_the_stage_at_hand_or_the_first_to_come(stage, where):
    progress = at(stage)
    assert asked(drop(1, 5), progress) == where
    progress.take(facts.opened({}, orders=drop(1, 5), at=where))
    for before in PLAN.stages[PLAN.stages.index(stage) : PLAN.stages.index(where)]:
        progress.take(facts.closed(before, MEMBERS))
    assert [task.index for task in decide(progress, PLAN, Policy()).tasks] == [0, 2, 3]


def test_that_a_member_that_is_done_can_be_dropped_and_does_not_go_on():
    progress = at(FORECAST, *(ended(index, Status.OK) for index in MEMBERS))
    assert asked(drop(2), progress) == FORECAST
    progress.take(facts.opened({}, orders=drop(2), at=FORECAST))
    assert decide(progress, PLAN, Policy(stop_on=frozenset(Status))) == Close(FORECAST, (0, 1, 3, 5))


def test_that_a_session_goes_on_with_as_few_members_as_it_was_told():
    progress = at(FORECAST, *(ended(index, Status.FAILED) for index in (0, 1, 2)))
    policy = Policy(min_members=4)
    assert isinstance(decide(progress, PLAN, policy), Stop)
    assert asked(Orders(min_members=2), progress, policy) is None
    progress.take(facts.opened({}, orders=Orders(min_members=2)))
    assert [task.index for task in decide(progress, PLAN, policy).tasks] == [3, 5]


@pytest.mark.parametrize("orders", [members(1), drop(1)])
@pytest.mark.parametrize("stage", [(Phase.PREPARE, 0), UPDATE, None])
def test_that_members_of_an_analysis_or_of_a_finished_run_are_settled(orders, stage):
    with pytest.raises(DataError, match="closed") as raised:
        asked(orders, at(stage))
    assert "ensemble.exclude" in raised.value.do
    assert "branch" in raised.value.do


@pytest.mark.parametrize("orders", [members(1, 4), drop(4), members(-1), drop(99)])
def test_that_numbers_of_nobody_are_refused_with_those_there_are(orders):
    with pytest.raises(DataError, match="no such members") as raised:
        asked(orders, at(FORECAST))
    assert raised.value.allowed == "0-3, 5"


@pytest.mark.parametrize("orders", [members(3), drop(3)])
def test_that_who_was_left_behind_in_a_closed_stage_stays_behind(orders):
    with pytest.raises(DataError, match="members 3 were left behind"):
        asked(orders, at(FORECAST, survivors=(0, 1, 2, 5)))


def test_that_ends_of_closed_stages_alone_are_refused():
    behind = at((Phase.FORECAST, 1), ended(3, Status.INVALID), survivors=(0, 1, 2, 5))
    with pytest.raises(DataError, match="members 3 ended so") as raised:
        asked(retry(Status.INVALID, Status.TIMED_OUT), behind)
    assert raised.value.got == "--retry invalid,timed-out"
    assert asked(retry(Status.FAILED), behind) is None
    behind.take(ended(1, Status.INVALID, (Phase.FORECAST, 1)))
    assert asked(retry(Status.INVALID), behind) is None


def test_that_a_member_whose_retry_was_done_in_a_closed_stage_is_not_behind():
    progress = at((Phase.FORECAST, 1), ended(3, Status.INVALID))
    assert asked(retry(Status.INVALID), progress) is None


def test_that_a_slice_that_failed_can_be_tried_again():
    assert asked(retry(Status.FAILED), at(UPDATE, ended(1, Status.FAILED, UPDATE))) is None


def test_that_what_is_done_is_not_made_a_second_time():
    with pytest.raises(DataError, match="members 2 are done") as raised:
        asked(members(1, 2), at(FORECAST, ended(2, Status.OK)))
    assert "--drop" in raised.value.do


def test_that_a_member_dropped_though_done_can_be_taken_back():
    progress = at(FORECAST, ended(2, Status.OK), facts.opened({}, orders=drop(2), at=FORECAST))
    assert asked(members(2), progress) is None
    assert asked(retry(Status.CANCELLED), progress) is None
    progress.take(facts.opened({}, orders=members(2)))
    assert [task.index for task in decide(progress, PLAN, Policy()).tasks] == [0, 1, 3, 5]
    for index in (0, 1, 3, 5):
        progress.take(ended(index, Status.OK))
    assert decide(progress, PLAN, Policy()) == Close(FORECAST, MEMBERS)


def test_that_a_member_cannot_be_tried_again_and_dropped_at_once():
    with pytest.raises(DataError, match="at once"):
        asked(Orders(members=frozenset({1}), drop=frozenset({1, 2})), at(FORECAST))


def test_that_so_many_cannot_be_dropped_that_the_run_would_stop():
    with pytest.raises(DataError, match="too few") as raised:
        asked(drop(0, 1), at(FORECAST), Policy(min_members=4))
    assert raised.value.got == "3 of 5"
    assert asked(drop(0, 1, min_members=3), at(FORECAST), Policy(min_members=4)) == FORECAST
    before = at(FORECAST, facts.opened({}, orders=drop(2), at=FORECAST))
    with pytest.raises(DataError, match="too few"):
        asked(drop(0, 1), before, Policy(min_members=3))


def test_that_with_how_few_to_go_on_is_no_question_of_a_finished_run():
    with pytest.raises(DataError, match="finished"):
        asked(Orders(min_members=2), at(None))
