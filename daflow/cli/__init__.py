"""The command line: `daflow`, a module for each group of its commands."""

from daflow.cli.entry import main

__all__ = ["main"]
