"""The command line: check, run, resume, status, report, logs, doctor, schema, init."""

from daflow.cli.app import main

__all__ = ["main"]
