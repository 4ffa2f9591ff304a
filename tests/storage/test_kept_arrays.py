import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from daflow.errors import StoreError
from daflow.storage.files import remove_partials
from daflow.storage.kept_arrays import SMALL, keep_arrays, kept_arrays

LARGE = np.arange(float(SMALL)).reshape(4, -1)


def test_that_large_arrays_come_back_mapped_in_the_order_in_which_they_lay(tmp_path):
    keep_arrays(tmp_path / "a", {"rows": LARGE, "columns": LARGE.T, "few": np.arange(3), "one": np.array(7)})
    read = kept_arrays(tmp_path / "a")
    for name, array in (("rows", LARGE), ("columns", LARGE.T), ("few", np.arange(3)), ("one", np.array(7))):
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
        with pytest.raises(ValueError, match="read-only"):
            read[name][...] = 0
    assert isinstance(read["rows"], np.memmap)
    assert read["columns"].T.flags.c_contiguous


def test_that_arrays_are_replaced_as_a_whole_while_others_still_read_the_old_ones(tmp_path):
    keep_arrays(tmp_path / "deep" / "a", {"old": LARGE, "both": LARGE})
    before = kept_arrays(tmp_path / "deep" / "a")
    keep_arrays(tmp_path / "deep" / "a", {"both": LARGE + 1})
    np.testing.assert_array_equal(before["old"], LARGE)
    assert list(kept_arrays(tmp_path / "deep" / "a")) == ["both"]
    np.testing.assert_array_equal(kept_arrays(tmp_path / "deep" / "a")["both"], LARGE + 1)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]


def test_that_what_was_never_kept_is_not_there(tmp_path):
    assert kept_arrays(tmp_path / "a") is None


@pytest.mark.parametrize("array", [LARGE, np.arange(5)], ids=["mapped", "read"])
def test_that_a_torn_file_is_named(tmp_path, array):
    keep_arrays(tmp_path / "a", {"x": array})
    path = tmp_path / "a" / "x.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StoreError, match=r"x\.npy"):
        kept_arrays(tmp_path / "a")


def test_that_a_writer_killed_half_way_leaves_nothing_under_the_name_and_is_cleaned_up_after(tmp_path):
    script = """
        import os, signal, sys
        import numpy as np
        from pathlib import Path
        from daflow.storage.kept_arrays import keep_arrays

        class Deadly(dict):
            def items(self):
                yield "first", np.ones(10)
                os.kill(os.getpid(), signal.SIGKILL)

        keep_arrays(Path(sys.argv[1]) / "a", Deadly())
    """
    words = [sys.executable, "-c", textwrap.dedent(script), os.fspath(tmp_path)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert kept_arrays(tmp_path / "a") is None
    assert remove_partials(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_that_arrays_take_the_place_of_those_that_another_host_kept_unseen(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    keep_arrays(folder, {"a": np.zeros(3)})
    exists = Path.exists
    # As a client of NFS that looked before the other host wrote.
    monkeypatch.setattr(Path, "exists", lambda path: path != folder and exists(path))
    keep_arrays(folder, {"a": np.ones(3)})
    monkeypatch.undo()
    assert kept_arrays(folder)["a"].tolist() == [1, 1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
