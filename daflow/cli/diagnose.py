"""``daflow diagnose``: whether a run's answer is any good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

HELP: Final = (
    "Say whether a run's answer is any good, finished or not.\n\n"
    "By step: misfit per observation, chi-square of the innovations, degrees of freedom for signal, how many "
    "directions the predictions have, how far the update moved the ensemble; in a twin experiment error, "
    "spread, CRPS and rank histogram of the predictions. Then by variable and by group of observations. The "
    "last line of the first table says what each number should be near.\n\n"
    "The report has the same in pictures, `run.diagnostics()` as xarray."
)


def diagnose(
    folder: Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Say whether a run's answer is any good."""
    import daflow  # noqa: PLC0415 - a second of imports, when asked for
    from daflow.cli.diagnosis import as_plain, diagnosis_told  # noqa: PLC0415

    found = daflow.open_run(folder).diagnostics().load()
    if as_json:
        typer.echo(json.dumps(as_plain(found), indent=1))
        return
    for part in diagnosis_told(found):
        Console().print(part)
