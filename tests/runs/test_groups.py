from hypothesis import given
from hypothesis import strategies as st

from daflow.names import BY_WALLTIME, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs.groups import (
    LEAST_SECONDS,
    MOST_AHEAD,
    SHORT_SECONDS,
    TARGET_SECONDS,
    Pace,
    group_size,
    groups_ahead,
    upper,
    worth_sending,
)

SECONDS = st.none() | st.floats(0, 1e5)
WAITING, SLOTS, AT_ONCE = st.integers(1, 10**5), st.integers(0, 500), st.integers(1, 10)


@given(st.none() | st.integers(1, 1000), SECONDS, WAITING, SLOTS, AT_ONCE)
def test_that_a_group_has_at_least_one_and_at_most_all_of_the_tasks_that_wait(
    asked, seconds, n_waiting, slots, at_once
):
    assert 1 <= group_size(asked, seconds, n_waiting, slots, at_once) <= n_waiting


@given(st.integers(1, 1000), SECONDS, WAITING, SLOTS)
def test_that_what_was_asked_for_is_done(asked, seconds, n_waiting, slots):
    assert group_size(asked, seconds, n_waiting, slots) == min(asked, n_waiting)


@given(SECONDS.filter(lambda s: s is None or s >= TARGET_SECONDS), WAITING, SLOTS)
def test_that_tasks_of_which_nothing_is_known_or_that_take_long_go_one_by_one(seconds, n_waiting, slots):
    assert group_size(None, seconds, n_waiting, slots) == 1


@given(st.floats(0, 10), WAITING, SLOTS.filter(bool))
def test_that_a_group_that_takes_time_leaves_every_slot_another_one_of_its_size(seconds, n_waiting, slots):
    size = group_size(None, seconds, n_waiting, slots)
    if size > 1 and size * max(seconds, 1e-6) > LEAST_SECONDS:
        assert (size - 1) * 2 * slots < n_waiting
        assert size * seconds <= TARGET_SECONDS


@given(st.floats(0, 10), st.floats(0, 10), WAITING, SLOTS, AT_ONCE)
def test_that_longer_tasks_never_make_larger_groups(a, b, n_waiting, slots, at_once):
    sizes = [group_size(None, seconds, n_waiting, slots, at_once) for seconds in sorted((a, b))]
    assert sizes[0] >= sizes[1]


@given(SECONDS, st.integers(1, 20))
def test_that_many_slices_go_several_at_a_time_however_long_they_take(seconds, slots):
    assert group_size(None, seconds, 16 * slots, slots, 8) >= 8
    assert group_size(None, TARGET_SECONDS, 2 * slots, slots, 8) == 1


@given(st.floats(0, 0.01), st.integers(1, 64))
def test_that_members_of_no_length_take_few_sendings(seconds, slots):
    left, sendings = 1000, 0
    while left:
        left -= group_size(None, seconds, left, slots)
        sendings += 1
    assert sendings <= 1000 * seconds / TARGET_SECONDS + 14 * slots


def test_that_a_worker_has_the_next_groups_waiting_only_where_groups_are_short():
    assert groups_ahead(10, 0.05, 4) == 4
    assert groups_ahead(1, 0.05, 4) == 8
    assert groups_ahead(1, 0.0, 4) == 4 * MOST_AHEAD
    assert groups_ahead(1, None, 4) == 0
    assert groups_ahead(1, SHORT_SECONDS, 4) == 0


@given(SLOTS, st.integers(0, 8))
def test_that_groups_are_sent_where_none_waits_and_not_one_by_one_where_several_may(slots, each):
    ahead = slots * each
    assert worth_sending(ahead + 1, ahead)
    assert not worth_sending(ahead // 2, ahead)


def ended(seconds, started=1e9, phase=Phase.FORECAST):
    return Outcome(Task(phase, 0, 0), Status.OK, seconds, started=started)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20))
def test_that_the_pace_lies_among_what_tasks_took_and_comes_to_what_they_take_now(times):
    pace = Pace()
    for seconds in times:
        pace.take(ended(seconds))
        pace.take(ended(0.0, started=0.0))
    assert min(times) - 1e-9 <= pace.of(Phase.FORECAST) <= max(times) + 1e-9
    for _ in range(100):
        pace.take(ended(3.0))
    assert abs(pace.of(Phase.FORECAST) - 3.0) < 1e-4
    assert pace.of(Phase.PRIOR) is None


TIMES = st.lists(st.floats(0, 1e4), min_size=1, max_size=64)


@given(TIMES, st.floats(0.01, 100), st.randoms(use_true_random=False))
def test_that_the_upper_end_lies_between_mean_and_largest_scales_and_knows_no_order(times, unit, random):
    mean, end = sum(times) / len(times), upper(times)
    assert mean * (1 - 1e-9) <= end <= max(times)
    assert abs(upper([unit * each for each in times]) - unit * end) <= 1e-6 * (1 + unit * end)
    shuffled = random.sample(times, len(times))
    assert abs(upper(shuffled) - end) <= 1e-6 * (1 + end)


@given(st.floats(0, 1e4), st.integers(1, 64))
def test_that_equal_times_have_that_time_as_their_upper_end(seconds, n):
    assert abs(upper([seconds] * n) - seconds) <= 1e-6 * seconds


def test_that_one_member_that_hung_is_no_measure_of_the_others():
    assert upper([10.0] * 63 + [1000.0]) < 400


def test_that_the_pace_knows_the_upper_end_of_those_that_came_home_well():
    pace = Pace()
    assert pace.most(Phase.FORECAST) is None
    for seconds in (1.0, 1.0, 4.0):
        pace.take(ended(seconds))
    for status in (Status.FAILED, Status.LOST, Status.CANCELLED):
        pace.take(Outcome(Task(Phase.FORECAST, 0, 0), status, 100.0, started=1e9))
    assert pace.most(Phase.FORECAST) == 4.0
    assert pace.most(Phase.PRIOR) is None


def test_that_members_that_outlasted_workers_are_a_measure_only_until_one_comes_home():
    pace = Pace()
    for seconds in (50.0, 40.0):
        outlasted = Outcome(Task(Phase.FORECAST, 0, 0), Status.LOST, seconds, figures={BY_WALLTIME: 1.0})
        pace.take(outlasted)
    assert pace.most(Phase.FORECAST) == 50.0
    assert pace.of(Phase.FORECAST) is None
    pace.take(ended(3.0))
    pace.take(outlasted)
    assert pace.most(Phase.FORECAST) == 3.0
