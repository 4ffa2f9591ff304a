"""Under which headings ``daflow --help`` lists the commands."""

from typing import Final

BEFORE: Final = "Before a run"
DRIVING: Final = "Runs"
LOOKING: Final = "What came of it"
BRANCHING: Final = "What if: other analyses of a forecast"
