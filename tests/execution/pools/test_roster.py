from hypothesis import given
from hypothesis import strategies as st

from daflow.execution.lifetimes import Life
from daflow.execution.pools.roster import Roster, ip_of

A, B, C = (f"tcp://10.0.0.{host}:4000{host}" for host in (1, 2, 3))


def roster(**threads):
    made = Roster()
    made.see({{"a": A, "b": B, "c": C}[name]: n for name, n in threads.items()})
    return made


def test_that_an_address_tells_its_host():
    assert ip_of(A) == "10.0.0.1"
    assert ip_of("tls://[fe80::1]:123") == "[fe80::1]"


def test_that_groups_go_to_whom_has_the_least_to_do_for_its_threads():
    workers, got = roster(a=2, b=1), []
    for _ in range(6):
        got.append(workers.place())
        workers.sent(got[-1])
    assert (got.count(A), got.count(B)) == (4, 2)
    workers.home(B)
    assert workers.place() == B


@given(st.lists(st.tuples(st.sampled_from("sehcad"), st.sampled_from([A, B, C])), max_size=40))
def test_that_a_group_goes_to_no_one_who_is_not_there_or_has_refused_whatever_happened(events):
    workers, here, closed, load = Roster(), set(), set(), {A: 0, B: 0, C: 0}
    for event, address in events:
        match event:
            case "s":
                here ^= {address}
                workers.see(dict.fromkeys(here, 1))
            case "e":
                if (chosen := workers.place()) is not None:
                    workers.sent(chosen)
                    load[chosen] += 1
            case "h":
                if load[address]:
                    workers.home(address)
                    load[address] -= 1
            case "c":
                workers.close(address)
                closed.add(address)
            case "a":
                workers.avoid(ip_of(address))
            case "d":
                workers.died(address)
                here.discard(address)
        usable = here - closed
        assert (workers.place() in usable) if usable else workers.place() is None
        assert bool(workers.slots) == bool(usable)


def test_that_a_host_that_is_put_aside_gets_nothing_as_long_as_there_are_others():
    workers = roster(a=1, b=1)
    workers.tell_host(A, "node1")
    workers.tell_host(B, "node2")
    assert workers.avoid("node1")
    assert workers.slots == 1
    assert workers.place() == B
    workers.died(B)
    assert workers.place() == A, "a task is stranded"
    workers.see({A: 1, B: 1})
    assert workers.place() == B


def test_that_a_host_alone_is_not_put_aside():
    workers = roster(a=2)
    workers.tell_host(A, "node1")
    assert not workers.avoid("node1")
    assert workers.slots == 2


def test_that_a_new_worker_on_a_known_host_has_its_name():
    workers = roster(a=1, b=1)
    workers.tell_host(A, "node1")
    brought_back = "tcp://10.0.0.1:50000"
    workers.see({brought_back: 1, B: 1})
    assert workers.host(brought_back) == "node1"
    assert workers.host(B) == "10.0.0.2"


def test_that_a_worker_has_gone_when_it_was_missed_twice_in_a_row():
    workers = roster(a=1)
    workers.sent(A)
    for there, gone in (({}, False), ({A: 1}, False), ({}, False), ({}, True)):
        workers.see(there)
        assert workers.has_gone(A) == gone


def test_that_the_most_workers_there_were_at_once_are_remembered():
    workers = roster(a=1, b=1, c=4)
    workers.see({A: 1})
    assert workers.most == 3


def test_that_a_worker_s_life_is_over_when_it_said():
    workers = roster(a=1)
    assert workers.outlived(A, 1.0) is None
    workers.tell_life(A, Life(left=100.0, whole=600.0))
    assert workers.outlived(A, 10.0) is None
    assert workers.outlived(A, 101.0) == 600.0
    workers.tell_life(A, Life(left=-1.0, whole=600.0))
    assert workers.outlived(A, 0.0) == 600.0


def test_that_who_rests_gets_nothing_for_now_as_long_as_there_are_others():
    workers = roster(a=1, b=2)
    workers.rest([B])
    assert (workers.slots, workers.place()) == (1, A)
    workers.rest([A, B])
    assert workers.slots == 3, "a task is stranded"
    workers.rest([])
    assert workers.place() in {A, B}
    assert workers.slots == 3
