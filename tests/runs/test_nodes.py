from math import comb
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs.nodes import CHANCE, COUNTED, Nodes, at_fault, chance

COUNTS = st.integers(0, 12)


def ended(host, member, status=Status.FAILED, seconds=1.0, phase=Phase.FORECAST, **figures):
    return Outcome(Task(phase, 0, member), status, seconds, host, "no licence\nand more", figures=figures)


def known(*outcomes):
    nodes = Nodes()
    for outcome in outcomes:
        nodes.take(outcome)
    return nodes.records


def good(host, members):
    return [ended(host, member, Status.OK) for member in members]


def bad(host, members, **others):
    return [ended(host, member, **others) for member in members]


def test_that_a_node_where_members_fail_that_do_well_elsewhere_is_at_fault():
    found = at_fault(known(*bad("n1", range(3)), *good("n2", range(10, 20))), 3)
    assert found == {
        "n1": "3 of 3 members ended badly (failed; the first: no licence) there; elsewhere 0 of 10 did"
    }


def test_that_fewer_members_than_asked_for_or_no_number_at_all_put_no_node_aside():
    records = known(*bad("n1", range(5)), *good("n2", range(10, 60)))
    assert at_fault(records, 5)
    assert at_fault(records, 6) == {}
    assert at_fault(records, None) == {}


def test_that_one_member_that_fails_time_and_again_is_one_member():
    assert at_fault(known(*bad("n1", [7] * 9), *good("n2", range(10, 60))), 2) == {}


def test_that_a_member_that_fails_on_two_nodes_counts_on_neither():
    outcomes = [*bad("n1", range(3)), *good("n2", range(10, 60))]
    assert at_fault(known(*outcomes, *bad("n2", [0])), 3) == {}
    assert at_fault(known(*outcomes, *bad("n2", [9])), 3).keys() == {"n1"}


@pytest.mark.parametrize(
    ("others", "at_fault_too"),
    [
        ({"status": Status.LOST}, True),
        ({"status": Status.INVALID}, True),
        ({"status": Status.TIMED_OUT}, True),
        ({"status": Status.LOST, BLAMELESS: 1.0}, False),
        ({"status": Status.CANCELLED}, False),
        ({"status": Status.BLOCKED}, False),
        ({"phase": Phase.UPDATE}, False),
    ],
)
def test_that_what_a_queue_a_rule_or_the_operator_ended_is_not_the_nodes_fault(others, at_fault_too):
    records = known(*bad("n1", range(4), **others), *good("n2", range(10, 60)))
    assert bool(at_fault(records, 3)) == at_fault_too


def test_that_an_end_nobody_knows_the_place_of_tells_nothing():
    assert known(*bad("", range(9)), *good("", range(9))) == {}


def test_that_a_node_that_fails_members_at_once_is_found_out_by_those_that_still_run_elsewhere():
    records = known(*bad("n1", range(3), seconds=0.5))
    running = [("n2", 20.0)] * 20
    assert at_fault(records, 3, running).keys() == {"n1"}
    assert at_fault(records, 3, [("n2", 0.4)] * 20) == {}
    assert at_fault(records, 3, [("n1", 20.0)] * 20) == {}
    # Where nobody knows when the lost ones had begun, nothing has outlasted them.
    assert at_fault(known(*bad("n1", range(3), seconds=0.0)), 3, running) == {}


def test_that_nodes_put_aside_are_not_compared_with():
    records = known(*bad("n1", range(3)), *good("n2", range(10, 60)))
    assert at_fault(records, 3, avoided=["n1"]) == {}
    assert at_fault(records, 3, avoided=["n2"]) == {}
    assert at_fault(known(*bad("n1", range(3))), 3, [("n2", 9.0)] * 60, ["n2"]) == {}


RECORDS = st.lists(
    st.builds(ended, st.sampled_from(["n1", "n2", "n3"]), COUNTS, st.sampled_from(Status)), max_size=60
)


@settings(max_examples=150)
@given(
    RECORDS, st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["n1", "n2", "n4"]), COUNTS), max_size=9)
)
def test_that_never_all_nodes_are_at_fault_and_never_without_enough_members(outcomes, least, running):
    records = known(*outcomes)
    found = at_fault(records, least, running)
    assert found == {} or set(found) < {*records, *(host for host, _ in running)}
    for host in found:
        assert len({o.task.index for o in outcomes if o.host == host and o.status in COUNTED}) >= least


@settings(max_examples=100)
@given(RECORDS, st.integers(1, 4), st.integers(1, 9))
def test_that_good_ends_elsewhere_never_clear_a_node(outcomes, least, n_more):
    before = at_fault(known(*outcomes), least)
    after = at_fault(known(*outcomes, *good("n3", range(100, 100 + n_more))), least)
    assert set(before) - {"n3"} <= set(after)


@given(COUNTS, COUNTS)
def test_that_a_node_alone_is_never_at_fault(n_bad, n_good):
    assert at_fault(known(*bad("n1", range(n_bad)), *good("n1", range(20, 20 + n_good))), 1) == {}
    assert chance(n_bad, n_good, 0, 0) == pytest.approx(1.0)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_that_the_chance_is_the_tail_of_the_hypergeometric_distribution(b, g, other_b, other_g):
    n, total_bad, total = b + g, b + other_b, b + g + other_b + other_g
    tail = sum(comb(total_bad, i) * comb(total - total_bad, n - i) for i in range(b, min(n, total_bad) + 1))
    assert chance(b, g, other_b, other_g) == pytest.approx(tail / comb(total, n), rel=1e-9)
    assert chance(b, g, other_b, other_g + 1) <= chance(b, g, other_b, other_g) + 1e-12


def test_that_nodes_that_do_equally_badly_are_rarely_put_aside_by_chance():
    """Deal 40 bad ends of 200 to four nodes at random, a thousand times."""
    random, blamed = Random(7), 0
    for _ in range(1000):
        members = list(range(200))
        random.shuffle(members)
        ends = [
            ended(f"n{member % 4}", member, Status.FAILED if place < 40 else Status.OK)
            for place, member in enumerate(members)
        ]
        blamed += bool(at_fault(known(*ends), 3))
    assert blamed <= 1000 * CHANCE * 1.5
