import subprocess
import sys

import pytest

from daflow.execution.tasks.watchdog import HANG_FILE, hung, watchdog

HANGS = """
import sys
from pathlib import Path
from daflow.execution.tasks.watchdog import watchdog

def never_returns():
    import ctypes
    ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock

with watchdog(1.0, Path(sys.argv[1])):
    never_returns()
"""


def test_that_a_process_that_hangs_is_ended_and_its_stack_is_left(tmp_path):
    ended = subprocess.run([sys.executable, "-c", HANGS, str(tmp_path)], check=False, timeout=60)
    assert ended.returncode == 1
    assert "never_returns" in hung(tmp_path)
    assert "Timeout" in hung(tmp_path)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_that_what_returns_in_time_leaves_nothing(tmp_path, seconds):
    with watchdog(seconds, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    assert hung(tmp_path) == ""


def test_that_what_raises_in_time_leaves_nothing_and_raises(tmp_path):
    with pytest.raises(KeyError), watchdog(60.0, tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_that_a_process_killed_otherwise_did_not_hang(tmp_path):
    (tmp_path / HANG_FILE).write_text("")
    assert not hung(tmp_path)
