import pytest

from daflow.names import Phase, Status
from daflow.ports import UnderWay
from daflow.records import Outcome, Task
from daflow.runs import facts, oversight
from daflow.runs.agenda import Agenda
from daflow.runs.decide import Plan
from daflow.runs.facts import Progress
from daflow.runs.oversight import Oversight
from daflow.runs.policy import Policy
from daflow.runs.stragglers import StragglerRule

N = 12
RULE = StragglerRule(factor=3.0, share=0.5)


def forecast(index, attempt=0):
    return Task(Phase.FORECAST, 0, index, attempt)


class Pool:
    """Says what is under way, and remembers what it is told."""

    def __init__(self):
        self.under_way, self.asked, self.was_cut, self.avoided = {}, 0, {}, []

    def running(self):
        self.asked += 1
        return self.under_way

    def cut(self, task, reason):
        self.was_cut[task] = reason

    def avoid(self, host):
        self.avoided.append(host)


class Run:
    """The members of a forecast, one by one."""

    def __init__(self, policy, left=()):
        plan = Plan(tuple(range(N)), 0, 1, twin=False, keys={})
        self.pool, self.asked = Pool(), 0
        self.agenda = Agenda(Progress(), plan, policy)
        for stage in plan.stages[: plan.stages.index((Phase.FORECAST, 0))]:
            for index in plan.indices(stage[0], plan.members):
                self.agenda.take(facts.ended(Outcome(Task(*stage, index), Status.OK)))
            self.agenda.take(facts.closed(stage, plan.members))

        def done_before(stage):
            self.asked += 1
            return left

        self.oversight = Oversight(policy, done_before)

    def ends(self, index, status=Status.OK, host="good", seconds=10.0, attempt=0):
        outcome = Outcome(forecast(index, attempt), status, seconds, host, started=1e9)
        self.oversight.take(outcome)
        self.agenda.take(facts.ended(outcome))

    def look(self):
        self.oversight._next = 0.0
        news = self.oversight.look(self.pool, self.agenda)
        for fact in news:
            self.agenda.take(fact)
        return news


def test_that_workers_are_not_asked_where_nothing_is_to_be_found_out():
    run = Run(Policy(stragglers=RULE))
    for index in range(4):
        run.ends(index)
        assert run.look() == []
    run.ends(4, Status.INVALID)
    run.look()
    assert run.pool.asked == run.asked == 0


def test_that_members_far_behind_are_cut_once_enough_are_done():
    run = Run(Policy(stragglers=RULE))
    run.pool.under_way = {forecast(10): UnderWay("good", 31.0), forecast(11): UnderWay("good", 29.0)}
    for index in range(5):
        run.ends(index)
        run.look()
    assert not run.pool.was_cut
    run.ends(5)
    assert run.look() == []
    assert list(run.pool.was_cut) == [forecast(10)]
    assert "policy.stragglers" in run.pool.was_cut[forecast(10)]


def test_that_members_of_another_stage_are_not_cut():
    run = Run(Policy(stragglers=RULE))
    run.pool.under_way = {Task(Phase.FORECAST, 1, 10): UnderWay("good", 1e6)}
    for index in range(10):
        run.ends(index)
    run.look()
    assert run.pool.asked == 1
    assert not run.pool.was_cut


def test_that_a_session_that_has_seen_none_done_asks_what_earlier_ones_left():
    left = [Outcome(forecast(index), Status.OK, 10.0) for index in range(11)]
    left.append(Outcome(forecast(11), Status.INVALID, 1e6))
    run = Run(Policy(stragglers=RULE), left)
    for outcome in left[:11]:
        run.agenda.take(facts.ended(outcome))
    run.pool.under_way = {forecast(11, 1): UnderWay("good", 31.0)}
    for _ in range(3):
        run.look()
    assert list(run.pool.was_cut) == [forecast(11, 1)]
    assert run.asked == 1


def test_that_a_node_where_members_end_badly_is_put_aside_once():
    run = Run(Policy(node_failures=3))
    for index in range(9):
        run.ends(index)
    for index in range(9, 12):
        run.ends(index, Status.FAILED, "bad", seconds=0.1)
    news = run.look()
    assert [(fact["fact"], fact["host"]) for fact in news] == [("avoided", "bad")]
    assert run.pool.avoided == ["bad"]
    assert "bad" in run.agenda.progress.avoided
    assert run.look() == []
    assert run.pool.avoided == ["bad"]


def test_that_members_that_outlast_bad_ends_elsewhere_speak_against_a_node():
    run = Run(Policy(node_failures=3))
    for index in range(4):
        run.ends(index, Status.FAILED, "bad", seconds=0.1)
    assert run.look() == []
    run.pool.under_way = {forecast(index): UnderWay("good", 5.0) for index in range(6, 12)}
    assert [fact["host"] for fact in run.look()] == ["bad"]


@pytest.mark.parametrize("policy", [Policy(node_failures=None), Policy(node_failures=4)])
def test_that_no_node_is_put_aside_where_the_policy_does_not_say_so(policy):
    run = Run(policy)
    for index in range(6):
        run.ends(index)
    for index in range(6, 9):
        run.ends(index, Status.FAILED, "bad")
    assert run.look() == []
    assert run.pool.asked == 0


def test_that_looking_takes_a_small_share_of_the_driver_s_time(monkeypatch):
    run, clock = Run(Policy(stragglers=RULE)), [100.0]
    monkeypatch.setattr(oversight.time, "monotonic", lambda: clock[0])
    for index in range(6):
        run.ends(index)

    def slowly():
        run.pool.asked += 1
        clock[0] += 1.0
        return {}

    run.pool.running = slowly
    for _ in range(2000):
        run.oversight.look(run.pool, run.agenda)
        clock[0] += 0.1
    assert 9 <= run.pool.asked <= 11
