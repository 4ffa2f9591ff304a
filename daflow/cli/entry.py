"""Where the command line begins."""

from __future__ import annotations


def main() -> None:
    """Run the command line.

    Each worker of this machine imports what its driver was started by, this module: it has no use for the
    commands, and does not wait for them.
    """
    from daflow.cli.app import app  # noqa: PLC0415 - not before it is called

    app()
