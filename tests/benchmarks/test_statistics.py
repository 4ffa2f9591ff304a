"""The arithmetic of the comparisons, and the page that tells them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from side_by_side.contest import Aim, Case, Contender, Contest, difference, paired_ratio
from side_by_side.page import merged, number, put, rows, table, words

SECONDS = st.floats(1e-3, 1e3)


def rounds_of(seconds):
    return {number: {"cpu": value} for number, value in enumerate(seconds, start=1)}


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=9).filter(lambda pairs: len(pairs) % 2))
def test_that_a_ratio_turns_over_when_the_two_change_places(pairs):
    ours, theirs = (rounds_of(side) for side in zip(*pairs, strict=True))
    there, back = paired_ratio(ours, theirs, "cpu"), paired_ratio(theirs, ours, "cpu")
    assert there * back == pytest.approx(1.0)


@given(st.lists(SECONDS, min_size=1, max_size=9), st.lists(SECONDS, min_size=9, max_size=9), SECONDS)
def test_that_a_round_that_is_slow_for_both_changes_nothing(ours, slow, ratio):
    mine = rounds_of([value * factor * ratio for value, factor in zip(ours, slow, strict=False)])
    theirs = rounds_of([value * factor for value, factor in zip(ours, slow, strict=False)])
    assert paired_ratio(mine, theirs, "cpu") == pytest.approx(ratio)


def test_that_only_rounds_that_both_ran_are_paired():
    ours, theirs = rounds_of([1.0, 1.0, 1.0]), {3: {"cpu": 2.0}}
    assert paired_ratio(ours, theirs, "cpu") == 0.5
    assert paired_ratio(ours, {0: {"cpu": 4.0}}, "cpu") == 0.25


def test_that_a_difference_is_relative_to_the_largest_number():
    ours = np.array([[1.0, -10.0], [2.0, 3.0]])
    assert difference(ours, ours) == 0
    assert difference(ours, ours + np.array([[0.0, 1.0], [0.0, 0.0]])) == 0.1
    assert not difference(ours, np.full_like(ours, np.nan)) <= 1


def contest_of(case, *contenders, rounds=2):
    contest = Contest(case, contenders, lambda line: None)
    for _ in range(1 + rounds):
        contest.others()
        contest.ours()
    return contest


def case_of(*aims):
    return Case("few", "{n} numbers", lambda place: [], {}, {}, aims)


def taking(name, **figures):
    return Contender(name, lambda: figures)


def test_that_an_aim_is_held_against_the_fastest_that_took_part():
    aim = Aim("ours", 0.5, ("slow", "fast", "absent"))
    record = contest_of(
        case_of(aim), taking("slow", cpu=9.0), taking("fast", cpu=3.0), taking("ours", cpu=1.2)
    ).record({"n": 3})
    (reached,) = record["aims"]
    assert reached["against"] == "fast"
    assert reached["value"] == pytest.approx(0.4)
    assert reached["met"]
    assert record["title"] == "3 numbers"


def test_that_an_aim_without_anybody_to_be_held_against_is_left_out():
    contest = contest_of(case_of(Aim("ours", 0.5, ("absent",)), Aim("absent", 1.0)), taking("ours", cpu=1.0))
    assert contest.record({"n": 1})["aims"] == []


def test_that_a_share_is_that_of_the_limit():
    aim = Aim("ours", 0.8, ("limit",), sense="at least")
    (reached,) = contest_of(case_of(aim), taking("limit", cpu=3.0), taking("ours", cpu=4.0)).record({"n": 1})[
        "aims"
    ]
    assert reached["value"] == 0.75
    assert reached["met"] is False


def test_that_the_warm_up_counts_only_where_it_is_all():
    contest = contest_of(case_of(), taking("slow", wall=100.0), taking("ours", wall=1.0))
    assert list(contest.counted("slow")) == [0]
    assert list(contest.counted("ours")) == [1, 2]


def test_that_contenders_that_differ_are_found_out():
    results = [np.ones((2, 3)), np.ones((2, 3)) + 1e-6]
    contenders = [Contender(str(i), lambda: None, result=lambda x=x: x) for i, x in enumerate(results)]
    with pytest.raises(AssertionError, match="differs by 1e-06"):
        contest_of(case_of(), *contenders)


RECORD = {
    "case": "few",
    "title": "few | numbers",
    "contenders": {"ours": {"rounds": 5, "note": "", "figures": {"cpu": 1.0, "wall": 1.0}}},
    "aims": [
        {
            "who": "ours",
            "against": "a peer",
            "figure": "cpu",
            "theirs": 4.0,
            "ours": 1.0,
            "unit": "",
            "value": 0.25,
            "bound": 0.2,
            "sense": "at most",
            "met": False,
        },
        {
            "who": "ours",
            "against": None,
            "figure": "extra",
            "theirs": None,
            "ours": 8.0,
            "unit": "MB",
            "value": 8.0,
            "bound": 20,
            "sense": "at most",
            "met": True,
        },
    ],
}
MACHINE = {
    "date": "2026-01-01",
    "cores": 2,
    "processor": "p",
    "memory_gb": 8,
    "disk": "ext4",
    "system": "s",
    "blas": ["b"],
    "python": "3",
    "packages": {"numpy": "2"},
}


def test_that_the_table_says_what_was_reached_and_what_was_asked():
    told = list(rows({"few": RECORD}))
    assert told[0][1:] == ("ours", "a peer", "4 s", "1 s", "0.25x", "≤ 0.2x", "**no**")
    assert told[1][1:] == ("ours", "", "", "8 MB", "8 MB", "≤ 20 MB", "yes")
    lines = table(("a",) * 8, iter(told)).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}


def test_that_cases_that_were_not_measured_keep_their_figures():
    measured = {"machine_info": MACHINE, "benchmarks": [{"extra_info": RECORD}, {"extra_info": {}}]}
    before = {"other": {"case": "other"}, "gone": {"case": "gone"}}
    results = merged(before, json.loads(json.dumps(measured)), ["few", "other"])
    assert list(results) == ["few", "other"]
    assert results["few"]["machine"] == MACHINE


def test_that_the_page_keeps_what_is_not_measured():
    page = put("before\n" + words({}) + "\nafter\n", words({"few": RECORD | {"machine": MACHINE}}))
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert put(page, words({"few": RECORD | {"machine": MACHINE}})) == page


@pytest.mark.parametrize(("value", "text"), [(0.0123456, "0.0123"), (12345.6, "12,346"), (None, "")])
def test_that_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text
