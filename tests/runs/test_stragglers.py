from hypothesis import given
from hypothesis import strategies as st

from daflow.names import Phase
from daflow.records import Task
from daflow.runs.stragglers import StragglerRule, stragglers

SECONDS = st.lists(st.floats(0.01, 1e4), max_size=20)
RUNNING = st.dictionaries(
    st.builds(Task, st.just(Phase.FORECAST), st.just(0), st.integers(0, 9)), st.floats(0, 1e5)
)
RULES = st.builds(StragglerRule, st.floats(1.01, 10), st.floats(0, 1))


def task(index):
    return Task(Phase.FORECAST, 0, index)


def test_that_what_takes_a_multiple_of_what_others_took_is_cut_and_told_why():
    found = stragglers(StragglerRule(3.0), [9.0, 10.0, 50.0], {task(3): 30.1, task(4): 30.0}, 3, 3)
    assert found == {
        task(3): "cut off by policy.stragglers: it had run for 30.1 s, more than 3 times the median of the 3 "
        "members that were done (10 s)"
    }


def test_that_none_is_cut_before_the_share_and_the_least_members_are_done():
    assert StragglerRule(share=0.75).n_needed(10, 2) == 8
    assert StragglerRule(share=0.75).n_needed(10, 9) == 9
    assert StragglerRule(share=0.0).n_needed(10, 5) == 5


@given(RULES, SECONDS, RUNNING, st.integers(0, 20), st.integers(2, 20))
def test_that_a_cut_leaves_enough_and_is_of_those_that_took_too_long(
    rule, seconds, running, n_done, n_needed
):
    found = stragglers(rule, seconds, running, n_done, n_needed)
    assert not found or n_done >= n_needed
    for cut in found:
        assert running[cut] > rule.factor * sorted(seconds)[(len(seconds) - 1) // 2]
        assert found[cut] == stragglers(rule, seconds, {cut: running[cut]}, n_done, n_needed)[cut]


@given(SECONDS, RUNNING, st.floats(1.01, 5), st.floats(0, 5))
def test_that_a_larger_factor_never_cuts_more(seconds, running, factor, more):
    fewer = stragglers(StragglerRule(factor + more), seconds, running, 20, 2)
    assert fewer.keys() <= stragglers(StragglerRule(factor), seconds, running, 20, 2).keys()
