"""Commands of queues that cannot be had here: they say what manuals say, and note how they were called."""

import os
import stat
import sys
from pathlib import Path


class FakeCommands:
    """A folder in front of PATH with commands that answer with a text."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def say(self, command: str, says: str, code: int = 0, error: str = "") -> None:
        """Let a command print this, whatever it is asked."""
        path = self.folder / command
        path.write_text(
            f"#!{sys.executable} -IS\nimport sys\n"
            f"line = ' '.join([{command!r}, *sys.argv[1:]]) + '\\n'\n"
            f"open({str(self.folder / 'called')!r}, 'a').write(line)\n"
            f"sys.stdout.write({says!r})\nsys.stderr.write({error!r})\nsys.exit({code})\n"
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def called(self) -> list[str]:
        """How the commands were called, in order."""
        path = self.folder / "called"
        return path.read_text().splitlines() if path.exists() else []
