"""The command line: check, run, resume, status, report, logs, doctor, schema, init."""

from daflow.cli.entry import main

__all__ = ["main"]
