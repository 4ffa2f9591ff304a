"""What ``run`` and ``status`` print about attempts that did not end well."""

from io import StringIO

import pytest
from rich.console import Console

from daflow.cli.progress import SAID, watching
from daflow.cli.tables import STYLES, status_tables
from daflow.names import BLAMELESS, Phase, Status
from daflow.records import Outcome, Task
from daflow.runs import facts
from daflow.runs.decide import Plan
from daflow.runs.facts import Progress, fold
from daflow.runs.orders import Orders
from daflow.runs.status import status_of

PLAN = Plan(tuple(range(8)), n_steps=1, n_slices=2, twin=False, keys={})
PRIOR = (Phase.PRIOR, 0)
BEFORE = facts.closed((Phase.COORDINATES, 0), PLAN.members)


def ended(index, status, attempt=0, host="n1", **figures):
    outcome = Outcome(
        Task(*PRIOR, index, attempt), status, host=host, reason=f"reason {index}\nmore", figures=figures
    )
    return facts.ended(outcome)


HISTORY = [
    facts.opened({}),
    BEFORE,
    ended(0, Status.FAILED),
    ended(1, Status.TIMED_OUT),
    ended(2, Status.LOST, host="n2", **{BLAMELESS: 1.0}),
    ended(2, Status.OK, 1),
    ended(4, Status.OK),
    facts.stopped("interrupted", "an operator", resumable=True),
    facts.opened({"host": "login"}, orders=Orders(drop=frozenset({4, 5})), at=PRIOR),
    facts.avoided("n2", "3 of 3 members ended badly there", 7.0),
    ended(6, Status.OK),
    facts.closed(PRIOR, [2, 6]),
]


def watched(history, *, terminal, height=None):
    text = StringIO()
    console = Console(file=text, force_terminal=terminal, width=160, height=height, color_system=None)
    progress = Progress()
    with watching(PLAN, console) as watch:
        for fact in history:
            progress.take(fact)
            watch(fact, progress)
    return text.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_that_a_run_that_is_watched_tells_ends_by_their_reason_and_nodes_put_aside(terminal):
    said = watched(HISTORY, terminal=terminal)
    for line in (
        "prior, member 0, attempt 0: failed: reason 0",
        "prior, member 1, attempt 0: timed out: reason 1",
        "node n2 is put aside: 3 of 3 members ended badly there",
        "1 failed, 1 timed out, 2 cancelled",
    ):
        assert line in said
    assert "more" not in said
    if not terminal:
        assert "prior: 2 of 8 done, 1 failed, 1 timed out, 2 cancelled" in said


@pytest.mark.parametrize("terminal", [True, False])
def test_that_ends_that_are_alike_are_not_told_for_ever(terminal):
    many = [ended(index, Status.FAILED, attempt) for attempt in range(3) for index in range(8)]
    said = watched([facts.opened({}), BEFORE, *many], terminal=terminal)
    assert said.count("failed: reason") == SAID
    assert said.count("others ended so too") == 1


def test_that_a_terminal_shows_the_latest_stages():
    closed = [
        facts.closed((phase, step), PLAN.members)
        for step in range(20)
        for phase in (Phase.FORECAST, Phase.UPDATE)
    ]
    said = watched([facts.opened({}), BEFORE, *closed], terminal=True, height=12)
    last = said.split("\x1b[2K")[-12:]
    assert any("update 19" in line for line in last)
    assert not any("update 3 " in line or "starting" in line for line in last)


def test_that_the_status_lists_the_last_attempt_of_a_member():
    many = [ended(index, Status.INVALID, attempt) for attempt in range(3) for index in range(8)]
    text = StringIO()
    for part in status_tables(status_of("flood", PLAN, fold([facts.opened({}), BEFORE, *many]), None)):
        Console(file=text, width=160).print(part)
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "the latest that did not end well; 16 more attempts in --json" in lines
    assert [line for line in lines if line.startswith("0 prior 3 ")] == ["0 prior 3 2 invalid reason 3"]


def test_that_the_status_groups_ends_by_reason_with_counts_hosts_and_first_messages():
    text = StringIO()
    for part in status_tables(status_of("flood", PLAN, fold(HISTORY), None)):
        Console(file=text, width=160).print(part)
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "node n2 is put aside: 3 of 3 members ended badly there" in lines
    for row in (
        "end attempts members done since hosts messages",
        "failed 1 1 0 n1 (1) reason 0",
        "timed out 1 1 0 n1 (1) reason 1",
        "cancelled 2 2 0 login (2) 2 x dropped by the operator",
        "lost 1 (1 blameless) 1 1 n2 (1) reason 2",
        "0 prior 2 4 8",
    ):
        assert row in lines, text.getvalue()


def test_that_every_end_has_a_colour():
    assert STYLES.keys() == set(Status)
