"""Where the command line begins."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line.

    Each worker of this machine imports what its driver was started by, this module: it has no use for the
    commands, and does not wait for them.
    """
    from daflow.cli.app import app  # noqa: PLC0415 - not before it is called

    try:
        app()
    finally:
        # What is left to do is the interpreter's: another Ctrl-C ends it without a word about its threads.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
