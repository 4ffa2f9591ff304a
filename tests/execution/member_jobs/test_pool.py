"""Pools whose workers are jobs: what a driver hears of them, whatever the queue does to them."""

from contextlib import contextmanager

import pytest

from daflow.errors import PoolError
from daflow.execution.member_jobs import pool as job_pool
from daflow.execution.member_jobs.batches import PLACE, write_batch
from daflow.execution.member_jobs.desk import JobDesk
from daflow.execution.member_jobs.pool import JobPool
from daflow.execution.queues.registry import register, registered
from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome, Task
from tests.contracts.pool_contract import MANY, PoolContract, home, work
from tests.execution.fake_queue import FakeQueue

ONE, TWO, THREE = MANY[1:4]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    for name in ("LOOK_SECONDS", "ASK_SECONDS", "GRACE_SECONDS", "LONG_GRACE_SECONDS"):
        monkeypatch.setattr(job_pool, name, 0.01)


def desk(folder, queue, seconds=60.0):
    return JobDesk(folder, queue, lambda batch, avoided: f"{batch.name} {sorted(avoided)}", printed, seconds)


def printed(batch, index):
    return batch.folder.parents[2] / f"{batch.name}-{index}.txt"


@contextmanager
def pool_of(folder, queue, at_once=50, **settings):
    seconds = settings.pop("seconds", 60.0)
    pool = JobPool(desk(folder, queue, seconds), queue, at_once, **settings)
    try:
        yield pool
    finally:
        pool.close()


class TestJobPool(PoolContract):
    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path):
        self.folder = tmp_path

    def pool(self, do=work):
        return pool_of(self.folder, FakeQueue(do))


class TestJobPoolWithoutArrays(PoolContract):
    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path):
        self.folder = tmp_path

    def pool(self, do=work):
        return pool_of(self.folder, FakeQueue(do, has_arrays=False), at_once=4)


def test_that_what_waits_goes_as_one_array_that_is_throttled_and_leaves_nothing(tmp_path):
    queue = FakeQueue(work)
    with pool_of(tmp_path, queue, at_once=3) as pool:
        assert pool.slots >= len(MANY)
        for task in MANY:
            pool.submit([task])
        assert len(home(pool, len(MANY))) == len(MANY)
    assert queue.submitted == [(20, 3)]
    assert queue.most_at_once <= 3
    (entry,) = registered(tmp_path)
    assert (entry.id, entry.system, entry.kind) == ("1", "fake", "member")
    assert not (tmp_path / entry.what).exists()
    assert queue.cancelled == []


def test_that_jobs_one_by_one_are_never_more_than_may_run(tmp_path):
    queue = FakeQueue(work)
    with pool_of(tmp_path, queue, at_once=3, arrays=False) as pool:
        assert pool.slots == 3
        for task in MANY:
            pool.submit([task])
        assert len(home(pool, len(MANY))) == len(MANY)
    assert queue.submitted == [(1, None)] * 20
    assert queue.most_at_once <= 3


def test_that_what_comes_later_waits_for_room_beside_an_array(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue, at_once=3) as pool:
        for task in MANY[:3]:
            pool.submit([task])
        pool.wait(0.02)
        pool.submit([MANY[3]])
        pool.submit([MANY[4]])
        pool.wait(0.02)
        assert queue.submitted == [(3, None)]
        queue.end("1_0", "NODE_FAIL")
        home(pool, 1)
        pool.wait(0.02)
        assert queue.submitted == [(3, None), (1, None)]


ENDS = [
    ("TIMEOUT", Status.TIMED_OUT, False, "used up its walltime"),
    ("OUT_OF_MEMORY", Status.LOST, False, "more memory"),
    ("NODE_FAIL", Status.LOST, True, "node failed"),
    ("CANCELLED", Status.LOST, True, "cancelled"),
    ("PREEMPTED", Status.LOST, True, "took its place"),
    ("FAILED", Status.LOST, False, "it failed"),
    ("COMPLETED", Status.LOST, False, "without a receipt"),
    ("", Status.LOST, False, "does not tell why"),
]


@pytest.mark.parametrize(("reason", "status", "blameless", "words"), ENDS)
def test_that_a_job_that_ended_without_a_receipt_is_told_by_the_queues_evidence(
    tmp_path, reason, status, blameless, words
):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE])
        pool.submit([TWO])
        pool.wait(0.01)
        queue.begin("1_0")
        queue.end("1_0", reason)
        (outcome,) = home(pool, 1)
        assert (outcome.task, outcome.status) == (ONE, status)
        assert bool(outcome.figures.get(BLAMELESS)) == blameless
        assert words in outcome.reason
        assert "1_0" in outcome.reason
        assert pool.n_out == 1


def test_that_what_a_job_printed_last_is_told_where_the_queue_tells_no_cause(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE])
        pool.wait(0.01)
        queue.begin("1")
        folder, _ = queue.batches["1"]
        (tmp_path / f"{folder.name}-0.txt").write_text("x\nSegmentation fault\n")
        queue.end("1", "FAILED")
        assert "it printed: Segmentation fault" in home(pool, 1)[0].reason


def test_that_a_queue_that_does_not_tell_is_told_by_the_walltime(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue, seconds=0.0) as pool:
        pool.submit([ONE])
        pool.wait(0.01)
        queue.begin("1")
        queue.end("1", "")
        assert home(pool, 1)[0].status is Status.TIMED_OUT


def test_that_a_member_that_was_lost_learns_from_the_queue_why(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        for task in (ONE, TWO):
            pool.submit([task])
        pool.wait(0.01)
        for element in ("1_0", "1_1"):
            queue.begin(element)
        queue.receipts += [Outcome(ONE, Status.LOST, 3.0, "n", "killed by SIGTERM", 1.0)]
        queue.receipts += [Outcome(TWO, Status.LOST, 3.0, "n", "killed by SIGKILL", 1.0)]
        assert pool.wait(0.05) == []
        queue.end("1_0", "TIMEOUT")
        queue.end("1_1", "FAILED")
        found = {outcome.task: outcome for outcome in home(pool, 2)}
        assert found[ONE].status is Status.TIMED_OUT
        assert "walltime" in found[ONE].reason
        assert "killed by SIGTERM" in found[ONE].reason
        assert found[TWO] == queue.receipts[1]


def test_that_the_death_of_a_job_of_several_is_held_against_the_one_under_way(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        pool.submit(MANY[:4])
        pool.wait(0.01)
        queue.begin("1")
        queue.receipts.append(Outcome(MANY[0], Status.OK))
        queue.marks = {MANY[1]}
        queue.end("1", "OUT_OF_MEMORY")
        outcomes = home(pool, 2)
        assert {o.task: o.status for o in outcomes} == {MANY[0]: Status.OK, MANY[1]: Status.LOST}
        assert pool.sent_back() == MANY[2:4]
        assert pool.n_out == 0


def test_that_jobs_that_cannot_begin_stop_the_run_and_one_alone_does_not(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        outcomes = []
        for number, task in enumerate(MANY[:3], start=1):
            pool.submit([task])
            pool.wait(0.01)
            queue.end(str(number), "FAILED")
            outcomes += home(pool, 1)
        assert [o.status for o in outcomes] == [Status.LOST, Status.LOST, Status.BLOCKED]
        assert all(o.figures[BLAMELESS] for o in outcomes)
        assert "prologue" in outcomes[-1].reason


def test_that_an_element_that_vanished_while_it_waited_is_nobodys_fault(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE])
        pool.wait(0.01)
        del queue.now["1"]
        (outcome,) = home(pool, 1)
        assert (outcome.status, outcome.figures) == (Status.LOST, {BLAMELESS: 1.0})


def test_that_a_store_that_would_not_let_a_member_be_blocks(tmp_path):
    blocked = Outcome(ONE, Status.BLOCKED, reason="disk full")
    with pool_of(tmp_path, FakeQueue(lambda tasks: [blocked])) as pool:
        pool.submit([ONE])
        assert home(pool, 1) == [blocked]


def test_that_a_member_is_cut_by_cancelling_its_job(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE])
        pool.submit([TWO])
        pool.wait(0.01)
        queue.begin("1_1")
        pool.wait(0.01)
        running = pool.running()
        assert {task: seen.host for task, seen in running.items()} == {TWO: "node7"}
        pool.cut(TWO, "too slow")
        pool.submit([THREE])
        pool.cut(THREE, "not wanted")
        pool.cut(MANY[9], "is not out")
        outcomes = home(pool, 2)
        assert {(o.task, o.status, o.reason) for o in outcomes} == {
            (TWO, Status.CANCELLED, "too slow"),
            (THREE, Status.CANCELLED, "not wanted"),
        }
        assert queue.cancelled == ["1_1"]
        assert pool.n_out == 1


def test_that_jobs_that_have_not_begun_are_recalled_and_others_go_on(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue, at_once=3) as pool:
        for task in (ONE, TWO, THREE):
            pool.submit([task])
        pool.wait(0.01)
        pool.submit([MANY[9]])
        queue.begin("1_1")
        pool.recall()
        assert pool.wait(0.01) == []
        assert set(pool.sent_back()) == {ONE, THREE, MANY[9]}
        assert set(queue.cancelled) == {"1_0", "1_2"}
        assert pool.n_out == 1
        queue.receipts += work([TWO])
        assert home(pool, 1)[0].task == TWO


def test_that_the_queue_is_asked_seldom_and_once_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(job_pool, "ASK_SECONDS", 1000.0)
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        for task in MANY:
            pool.submit([task])
        for _ in range(5):
            pool.wait(0.01)
        assert queue.n_questions == 0
        monkeypatch.setattr(job_pool, "ASK_SECONDS", 0.0)
        pool.wait(0.0)
        assert queue.n_questions == 1


def test_that_a_queue_that_is_out_of_reach_for_a_while_is_borne(tmp_path, monkeypatch):
    queue = FakeQueue(work)
    queue.trouble = PoolError("the queue refused `sbatch`", got="Unable to contact slurm controller")
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE])
        assert pool.wait(0.05) == []
        queue.trouble = None
        assert len(home(pool, 1)) == 1
        queue.trouble = PoolError("the queue refused `sbatch`", got="Socket timed out on send/recv operation")
        monkeypatch.setattr(job_pool, "PATIENCE_SECONDS", -1.0)
        pool.submit([TWO])
        with pytest.raises(PoolError, match="Socket timed out"):
            pool.wait(0.05)


def test_that_a_refusal_lays_the_run_down_at_once_and_leaves_nothing(tmp_path):
    queue = FakeQueue(work)
    queue.trouble = PoolError("the queue refused `sbatch`", got="invalid partition specified: nosuch")
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE])
        with pytest.raises(PoolError, match="invalid partition"):
            pool.wait(5)
    assert list((tmp_path / PLACE).iterdir()) == []
    assert registered(tmp_path) == []


def test_that_a_closed_pool_cancels_its_jobs_unless_they_are_kept(tmp_path):
    for keep, cancelled in ((False, {"1_0", "1_1"}), (True, set())):
        queue = FakeQueue(work, holds=True)
        with pool_of(tmp_path, queue, keep=keep) as pool:
            pool.submit([ONE])
            pool.submit([TWO])
            pool.wait(0.01)
        assert set(queue.cancelled) == cancelled


def test_that_jobs_of_a_dead_driver_are_taken_up_again_and_not_submitted_anew(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue, keep=True) as pool:
        for task in (ONE, TWO, THREE):
            pool.submit([task])
        pool.wait(0.01)
        queue.begin("1_0")
        queue.end("1_2", "NODE_FAIL")
    queue.holds = False
    with pool_of(tmp_path, queue) as pool:
        for task in (ONE, THREE):
            pool.submit([task])
        queue.receipts.append(Outcome(ONE, Status.OK, reason="of the first job"))
        reasons = {o.task: o.reason for o in home(pool, 2)}
        assert reasons[ONE] == "of the first job"
        assert THREE in reasons
        assert queue.submitted == [(3, None), (1, None)]
    # What nobody has asked for goes with the pool.
    assert "1_1" in queue.cancelled
    assert "1_0" not in queue.cancelled


def test_that_what_a_job_of_a_dead_driver_has_done_meanwhile_is_not_submitted_anew(tmp_path):
    queue = FakeQueue(work, holds=True)
    queue.receipts += work([ONE])
    with pool_of(tmp_path, queue) as pool:
        pool.submit([ONE, TWO])
        assert [outcome.task for outcome in home(pool, 1)] == [ONE]
        pool.wait(0.01)
        assert queue.submitted == [(1, None)]
        assert pool.n_out == 1


def test_that_an_earlier_attempt_that_still_runs_is_cancelled_when_a_new_one_is_sent(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue, keep=True) as pool:
        pool.submit([ONE])
        pool.wait(0.01)
    with pool_of(tmp_path, queue) as pool:
        pool.submit([Task(ONE.phase, ONE.step, ONE.index, 1)])
        assert queue.cancelled == ["1"]


def test_that_a_driver_cannot_begin_where_the_queue_does_not_say_what_of_its_jobs_is_left(tmp_path):
    queue = FakeQueue(work)
    batch = write_batch(tmp_path, [[ONE]])
    register(tmp_path, "1", "fake", "member", str(PLACE / batch.name))
    queue.trouble = PoolError("the queue did not answer squeue")
    with pytest.raises(PoolError, match="did not answer"):
        JobPool(desk(tmp_path, queue), queue, 1)
    queue.trouble = None
    JobPool(desk(tmp_path, queue), queue, 1)
    assert not batch.folder.exists()


def test_that_hosts_put_aside_are_told_to_what_is_submitted_from_then_on(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        pool.avoid("node3")
        pool.submit([ONE])
        pool.wait(0.01)
        folder, _ = queue.batches["1"]
        assert (folder / "job.sh").read_text().endswith("['node3']")


def test_that_an_empty_output_is_removed_and_another_one_stays(tmp_path):
    queue = FakeQueue(work, holds=True)
    with pool_of(tmp_path, queue) as pool:
        for task in (ONE, TWO):
            pool.submit([task])
        pool.wait(0.01)
        folder, _ = queue.batches["1_0"]
        (tmp_path / f"{folder.name}-0.txt").touch()
        (tmp_path / f"{folder.name}-1.txt").write_text("a warning\n")
        queue.receipts += work([ONE, TWO])
        home(pool, 2)
    assert [path.name for path in tmp_path.glob("*.txt")] == [f"{folder.name}-1.txt"]


def test_that_stages_other_than_forecasts_can_be_out_at_once(tmp_path):
    truth = Task(Phase.TRUTH, 0, 0)
    with pool_of(tmp_path, FakeQueue(work)) as pool:
        pool.submit([truth])
        pool.submit([ONE])
        assert {outcome.task for outcome in home(pool, 2)} == {truth, ONE}
