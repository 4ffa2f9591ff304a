"""Scripts that would begin their run anew in each worker are refused before anything starts."""

import runpy
from types import SimpleNamespace

import pytest

from daflow.assemble.driving import main_guard
from daflow.config.execution import AddressExecution, LocalExecution
from daflow.errors import ConfigError

CALL = """
from daflow.assemble.driving.main_guard import check_main_guard
from daflow.config.execution import LocalExecution
"""
BARE = [
    "check_main_guard(LocalExecution())\n",
    "def go():\n    check_main_guard(LocalExecution())\n\ngo()\n",
    "if True:\n    check_main_guard(LocalExecution())\n",
    "for _ in range(1):\n    check_main_guard(LocalExecution())\n",
]
GUARDED = [
    "if __name__ == '__main__':\n    check_main_guard(LocalExecution())\n",
    "def go():\n    check_main_guard(LocalExecution())\n\nif '__main__' == __name__:\n    go()\n",
]


@pytest.mark.parametrize("text", BARE)
def test_that_a_script_without_a_guard_is_refused_by_its_line(text, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CALL + text)
    line = 3 + text.count("\n")
    with pytest.raises(ConfigError, match=rf"script\.py, line {line}: (.|\n)*if __name__ == '__main__'"):
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("text", GUARDED)
def test_that_a_script_with_a_guard_is_not(text, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CALL + text)
    runpy.run_path(str(script), run_name="__main__")


def test_that_what_workers_do_not_import_needs_no_guard(tmp_path):
    package = tmp_path / "__main__.py"
    package.write_text(CALL + BARE[0])
    runpy.run_path(str(package), run_name="__main__")
    imported = tmp_path / "imported.py"
    imported.write_text(CALL + BARE[0])
    runpy.run_path(str(imported), run_name="imported")
    exec(CALL + BARE[0], {"__name__": "__main__"})  # noqa: S102 - as a console does


def test_that_a_worker_that_imports_a_script_begins_no_run_anew(monkeypatch):
    monkeypatch.setattr(main_guard, "current_process", lambda: SimpleNamespace(_inheriting=True))
    with pytest.raises(ConfigError, match="if __name__ == '__main__'"):
        main_guard.check_main_guard(LocalExecution())


def test_that_workers_elsewhere_import_no_script(monkeypatch):
    monkeypatch.setattr(main_guard, "current_process", lambda: SimpleNamespace(_inheriting=True))
    main_guard.check_main_guard(AddressExecution(address="tcp://127.0.0.1:8786"))
