"""``daflow resume --retry, --drop, --min-members``: words in, orders out, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from daflow.assemble.folder import make_run
from daflow.cli.app import app
from daflow.cli.orders import ENDS, orders_of
from daflow.config.load import load_workflow
from daflow.errors import DataError
from daflow.names import Status
from daflow.runs.orders import ALL_FAILURES, NONE, Orders
from daflow.runs.policy import RETRIES
from tests.end_to_end.small_run import CALLABLE, WELL, written


def orders(retry=None, drop=None, min_members=None, *, retry_failed=False):
    return orders_of(retry, drop, min_members, retry_failed=retry_failed)


def test_that_words_are_ends_and_numbers_are_members():
    assert orders() == NONE
    asked = orders(["failed, 17", "timed-out,timed_out", "23"], ["4,5", "6"], 8)
    assert asked == Orders(
        frozenset({Status.FAILED, Status.TIMED_OUT}), frozenset({17, 23}), frozenset({4, 5, 6}), 8
    )


def test_that_every_end_with_a_count_of_its_own_can_be_asked_for():
    assert set(ENDS.values()) == set(RETRIES)
    assert orders([",".join(ENDS)]).retry == frozenset(RETRIES)


def test_that_the_older_option_asks_for_all_but_what_was_cut_off_on_purpose():
    assert orders(["cancelled"], retry_failed=True).retry == ALL_FAILURES | {Status.CANCELLED}


@pytest.mark.parametrize(
    ("retry", "drop", "words"),
    [
        (["fialed"], None, "did you mean failed"),
        (["blocked"], None, "members' numbers"),
        (["-3"], None, "no such end"),
        (["²"], None, "no such end"),
        (None, ["failed"], "--drop 17,23"),
        (None, ["1.5"], "--drop 17,23"),
    ],
)
def test_that_other_words_are_refused_with_what_may_stand_there(retry, drop, words):
    with pytest.raises(DataError, match=r"--retry|--drop") as raised:
        orders(retry, drop)
    assert words in str(raised.value)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("orders")
    workflow = written(place, CALLABLE, WELL)
    make_run(load_workflow(workflow), place / "run", workflow.read_text())
    return place / "run"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--drop", "99"], ["no such members", "0-11"]),
        (["--retry", "3", "--drop", "3,4"], ["at once"]),
        (["--drop", "0,1,2,3", "--min-members", "9"], ["8 of 12", "at least 9"]),
        (["--min-members", "13"], ["min_members", "2 to 12"]),
        (["--retry", "unlucky"], ["no such end"]),
    ],
)
def test_that_what_cannot_be_had_is_refused_before_anything_is_done(made, options, words):
    before = (made / "resolved.json").read_bytes()
    result = CliRunner().invoke(app, ["resume", str(made), *options])
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert not (made / "journal.jsonl").exists()
    assert (made / "resolved.json").read_bytes() == before
    assert json.loads(before)["workflow"]["policy"]["min_members"] == 2
