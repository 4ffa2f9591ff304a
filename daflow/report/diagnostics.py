"""The section of the page that tells whether the answer is any good: which pictures there are to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from daflow.numerics.diagnostics.scores import Scores
from daflow.report import heat, lines, skill
from daflow.report.contents import ReportContents
from daflow.report.steps import Diagnostics, StepScores
from daflow.report.style import Picture
from daflow.report.wording import number


@dataclass(frozen=True, slots=True)
class DiagnosticSection:
    """Pictures by what they tell; each list may be empty."""

    consistency: list[Picture]
    """Chi-square and degrees of freedom by step."""
    groups: list[Picture]
    """Misfit by group and step."""
    updates: list[Picture]
    """How far updates moved variables and slices."""
    truth: list[Picture]
    """Against the truth of a twin experiment."""
    errors: list[Picture]
    """Whether the observations' errors are as assumed."""
    away: str
    """What share the localization leaves out, in words; empty where nobody knows."""

    @property
    def anything(self) -> bool:
        """Whether there is anything to show."""
        return any((self.consistency, self.groups, self.updates, self.truth, self.errors))


def diagnostic_section(contents: ReportContents) -> DiagnosticSection:
    """Return the pictures of what the run has come to so far."""
    told = contents.diagnostics
    in_cycles = bool(contents.cycles)
    return DiagnosticSection(
        consistency=_there(
            # Cycles have a section of their own, with chi-square in it.
            None if in_cycles else lines.chi_square(told.figures),
            lines.signal(told.figures, contents.n_members),
        ),
        groups=_there(heat.group_misfits(told.groups, told.scores)),
        updates=_there(lines.moves(told.updates), heat.slice_moves(told.updates)),
        truth=list(_against_truth(told.scores, in_cycles=in_cycles)),
        errors=_there(lines.error_ratios(told.error_ratios)),
        away=_away(told),
    )


def _there(*pictures: Picture | None) -> list[Picture]:
    return [picture for picture in pictures if picture is not None]


def _against_truth(found: Sequence[StepScores], *, in_cycles: bool) -> Iterator[Picture]:
    scored = [(each.step, each.truth) for each in found if each.truth is not None]
    if not scored:
        return
    steps, every = [step for step, _ in scored], [scores for _, scores in scored]
    named = {"all cycles": every} if in_cycles else _of_steps(steps, every)
    yield from skill.rank_panels(named)
    yield skill.spread_skill_panel(named)
    yield lines.scores(steps, every)


def _of_steps(steps: Sequence[int], every: Sequence[Scores]) -> Mapping[str, Sequence[Scores]]:
    named: dict[str, Sequence[Scores]] = {"prior" if steps[0] == 0 else f"step {steps[0]}": every[:1]}
    return named if len(every) == 1 else named | {"posterior": every[-1:]}


def _away(told: Diagnostics) -> str:
    shares = [each.localized_away for each in told.updates if each.localized_away is not None]
    return f"{number(100 * shares[-1])} %" if shares else ""
