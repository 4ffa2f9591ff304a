"""Laws of what users' functions print."""

from __future__ import annotations

import sys
import threading

from daflow.models.printed import MOST, PRINTED, Printed
from daflow.models.user_functions import call_for_member


def say(text):
    sys.stdout.write(text + "\n")


def test_that_what_a_function_prints_is_kept_and_not_shown(tmp_path, capsys):
    def function():
        say("pressure 3.5")
        sys.stderr.writelines(["careful", "\n"])
        sys.stdout.flush()
        return 1

    assert call_for_member(function, "model:function", lambda: tmp_path) == 1
    assert (tmp_path / PRINTED).read_text() == "pressure 3.5\ncareful\n"
    say("told")
    assert capsys.readouterr() == ("told\n", "")


def test_that_who_prints_nothing_leaves_nothing(tmp_path):
    def log_dir():
        raise AssertionError("nobody needs a folder")

    with Printed(log_dir):
        assert sys.stdout.encoding


def test_that_threads_do_not_mix_and_others_print_as_before(tmp_path, capsys):
    both = threading.Barrier(3)

    def member(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Printed(lambda: folder):
            both.wait(10)
            say(f"member {number}")
            both.wait(10)

    members = [threading.Thread(target=member, args=(number,)) for number in (1, 2)]
    for each in members:
        each.start()
    both.wait(10)
    say("the worker")
    both.wait(10)
    for each in members:
        each.join(10)
    assert [(tmp_path / str(number) / PRINTED).read_text() for number in (1, 2)] == [
        "member 1\n",
        "member 2\n",
    ]
    assert capsys.readouterr().out == "the worker\n"


def test_that_a_member_that_prints_without_end_fills_no_disk(tmp_path):
    with Printed(lambda: tmp_path):
        for _ in range(3):
            say("x" * (MOST // 2))
    kept = (tmp_path / PRINTED).read_text()
    assert MOST < len(kept) < MOST + 100
    assert "more was printed" in kept[-80:]


def test_that_a_log_that_cannot_be_written_is_not_held_against_the_member(tmp_path):
    (tmp_path / PRINTED).mkdir()
    with Printed(lambda: tmp_path):
        say("lost")
