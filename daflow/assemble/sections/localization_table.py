"""Which method takes which localization, told from what methods and settings declare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from daflow.assemble.sections.kinds import EVERY_LOCALIZATION, NO_LOCALIZATION
from daflow.assemble.sections.methods import KINDS
from daflow.config.localization import LocalizationSettings, NoLocalization
from daflow.config.section import Section

SETTINGS: Final[tuple[type[Section], ...]] = tuple(
    each for each in get_args(get_args(LocalizationSettings)[0]) if each is not NoLocalization
)
"""The settings of each kind of localization, in the order of the workflow file's description."""
ORDER: Final = ("gain", "cross_covariance", "observation_error")


def localization_table() -> str:
    """Return the table of methods by kinds of localization, in Markdown.

    In each cell stands what its weights may multiply there (``localization.tapers``).
    """
    kinds = [str(each.model_fields["kind"].default) for each in SETTINGS]
    head = ["method", "none", *kinds]
    lines = [head, ["---"] * len(head)]
    lines += [[f"`{method}`", *_cells(method)] for method in KINDS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cells(method: str) -> Iterator[str]:
    taken = KINDS[method]
    yield "yes" if taken.localizations & NO_LOCALIZATION else ""
    for settings in SETTINGS:
        offered = set(get_args(settings.model_fields["tapers"].annotation))
        both = (
            offered & taken.localizations if settings.model_fields["kind"].default in taken.weights else set()
        )
        yield (
            "any"
            if both == EVERY_LOCALIZATION - NO_LOCALIZATION
            else ", ".join(name for name in ORDER if name in both)
        )
