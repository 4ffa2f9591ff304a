"""The section that tells whether the answer is any good: drawn of what there is, and what it says."""

import re

import numpy as np
import pytest

from daflow.numerics.diagnostics.scores import scores_of
from daflow.report import CycleScores, Diagnostics, StepFigures, StepScores, StepUpdate, heat, lines, skill
from daflow.report.diagnostics import diagnostic_section
from daflow.report.page import render
from daflow.report.style import drawing
from tests.report.test_page import EVIL, Page

GROUPS = ["P1 · oil_rate", "P2 · pressure", "P3 · water_rate"]


def scored(seed=0, n_members=12, n_obs=60, width=1.0):
    rng = np.random.default_rng(seed)
    std = rng.uniform(0.5, 2, n_obs)
    return scores_of(width * rng.standard_normal((n_members, n_obs)), rng.standard_normal(n_obs), std)


def update(step, n_slices=6, **changes):
    rng = np.random.default_rng(step)
    given = {
        "before": {"logk": 1.0},
        "after": {"logk": 0.8},
        "moved": {"logk": 0.3},
        "moved_in_spread": {"logk": 0.5 / (step + 1), "porosity": 0.1},
        "by_slice": rng.uniform(0, 1, n_slices),
        "localized_away": 0.25,
    }
    return StepUpdate(step, **(given | changes))


def diagnostics(n_steps=3, *, truth=True, **changes):
    rng = np.random.default_rng(2)
    noted = {"chi_square": 1.25, "dfs": 4.0, "effective_rank": 3.0, "alpha": 2.0}
    given = {
        "groups": GROUPS,
        "figures": [StepFigures(step, noted) for step in range(n_steps - 1)],
        "updates": [update(step) for step in range(n_steps - 1)],
        "scores": [
            StepScores(step, rng.uniform(0.5, 90, 3), 1.0, scored(step) if truth else None)
            for step in range(n_steps)
        ],
        "error_ratios": {"oil_rate": 1.5, "pressure": 0.0},
    }
    return Diagnostics(**(given | changes))


def section(make_contents, told, **changes):
    with drawing():
        return diagnostic_section(make_contents(diagnostics=told, **changes))


def titles(pictures):
    return [picture.title for picture in pictures]


def test_that_a_finished_twin_s_pictures_are_all_there(make_contents):
    page = Page(text := render(make_contents(diagnostics=diagnostics(), maps=())))
    for told in (
        "Chi-square of the innovations",
        "Degrees of freedom",
        "Mean misfit per observation",
        "How far updates moved the mean",
        "How far updates moved each slice",
        "Ranks of the truth, prior",
        "Ranks of the truth, posterior",
        "Spread and error",
        "Errors against the truth",
        "Diagnosed over assumed errors",
        "The localization leaves out 25.0 % of all",
    ):
        assert told in page.text
    assert len(page.ids) == len(set(page.ids))
    assert len(re.findall(r'<svg role="img" aria-label="[^"]+"', text)) == page.tags["svg"]
    assert not re.search(r"https?:|@import|url\((?!#)", text)


def test_that_a_run_without_a_truth_has_the_rest(make_contents):
    found = section(make_contents, diagnostics(truth=False), truth=None)
    assert found.truth == []
    assert titles(found.consistency) == ["Chi-square of the innovations", "Degrees of freedom"]
    assert "Against the truth" not in render(make_contents(diagnostics=diagnostics(truth=False), maps=()))


def test_that_a_run_interrupted_after_the_prior_has_what_it_came_to(make_contents):
    told = diagnostics(1, error_ratios={})
    found = section(make_contents, told, n_forecasts=1)
    assert found.anything
    assert titles(found.truth)[:1] == ["Ranks of the truth, prior"]
    assert [found.consistency, found.groups, found.updates, found.errors] == [[], [], [], []]
    assert "Ranks of the truth, prior" in render(make_contents(diagnostics=told, n_forecasts=1, maps=()))


def test_that_a_run_that_has_come_to_nothing_says_so(make_contents):
    text = Page(render(make_contents(n_forecasts=0, diagnostics=Diagnostics(), maps=()))).text
    assert "there is nothing to diagnose" in text


def test_that_a_filter_s_ranks_are_put_together_and_its_chi_square_is_with_its_cycles(make_contents):
    cycles = [CycleScores(step, 1.0 + step, {"x": 1.0}, {"x": 0.5}, {}, {}, 1.0) for step in range(3)]
    found = section(make_contents, diagnostics(), n_forecasts=1, cycles=cycles)
    assert titles(found.consistency) == ["Degrees of freedom"]
    assert titles(found.truth) == [
        "Ranks of the truth, all cycles",
        "Spread and error",
        "Errors against the truth",
    ]
    assert found.truth[0].note.startswith("180 observations")


def test_that_many_steps_groups_variables_and_slices_are_drawn(make_contents):
    n_steps = 300
    groups = [f"W{i}" for i in range(70)]
    moved = {f"v{i}": 0.1 * i for i in range(7)}
    told = Diagnostics(
        groups,
        [StepFigures(step, {"chi_square": 10.0**step, "dfs": 3.0}) for step in range(100)],
        [update(step, 5000, moved_in_spread=moved) for step in range(3)],
        [StepScores(step, np.full(70, 2.0), 2.0, scored(step % 5)) for step in range(n_steps)],
        {f"kind {i}": 1.0 + i for i in range(40)},
    )
    found = section(make_contents, told)
    assert found.groups[0].note == "the 24 worst of 70"
    assert found.updates[0].note == "3 more variables moved less"
    assert found.updates[1].note.startswith("400 stripes")
    assert found.errors[0].note == "16 more are nearer to 1"
    pictures = [*found.consistency, *found.groups, *found.updates, *found.truth, *found.errors]
    assert max(len(picture.svg) for picture in pictures) < 300_000


def test_that_figures_that_are_not_there_leave_gaps_and_no_errors(make_contents):
    told = diagnostics(
        figures=[
            StepFigures(0, {"undiagnosed": 1.0}),
            StepFigures(1, {"dfs": 2.0, "chi_square": float("nan")}),
        ],
        updates=[update(0, moved={}, moved_in_spread={}, by_slice=np.full(6, np.nan), localized_away=None)],
        scores=[StepScores(0, np.full(3, np.nan)), StepScores(1, np.full(3, np.nan))],
        error_ratios={},
    )
    found = section(make_contents, told)
    assert titles(found.consistency) == ["Degrees of freedom"]
    assert (found.updates, found.truth, found.errors, found.away) == ([], [], [], "")


@pytest.mark.parametrize(("n_members", "n_obs"), [(2, 1), (3, 2), (200, 5), (2, 1000)])
def test_that_any_ensemble_has_a_rank_histogram_and_spread_against_error(n_members, n_obs):
    with drawing():
        found = {"prior": [scored(1, n_members, n_obs)], "posterior": [scored(2, n_members, n_obs, 0.0)]}
        assert len(skill.rank_panels(found)) == 2
        assert skill.spread_skill_panel(found).title == "Spread and error"


def test_that_a_flat_histogram_is_told_flat_and_a_narrow_one_a_u():
    with drawing():
        flat, narrow = (skill.rank_panels({"prior": [scored(3, 40, 4000, w)]})[0].svg for w in (1.0, 0.2))
    heights = [
        [float(each) for each in re.search(r"low ranks to high: ([^\"]+)\.\"", svg)[1].split(", ")]
        for svg in (flat, narrow)
    ]
    assert max(heights[0]) < 1.3
    assert heights[1][0] > 3 < heights[1][-1]


def test_that_histograms_of_equally_many_members_are_put_together():
    with drawing():
        (panel,) = skill.rank_panels({"all cycles": [scored(1, 9, 50), scored(2, 8, 30), scored(3, 9, 20)]})
    assert panel.note.startswith("70 observations")


def test_that_nothing_in_the_names_can_become_markup(make_contents):
    told = diagnostics(
        groups=[EVIL, "a", "b"],
        error_ratios={EVIL: 1.2},
        updates=[update(step, moved_in_spread={EVIL: 1.0}) for step in range(2)],
    )
    page = Page(render(make_contents(diagnostics=told, maps=())))
    assert page.tags["script"] == 0


def test_that_pictures_of_nothing_are_none():
    with drawing():
        assert lines.chi_square([]) is None
        assert lines.signal([], 5) is None
        assert lines.moves([]) is None
        assert lines.error_ratios({}) is None
        assert heat.group_misfits([], []) is None
        assert heat.group_misfits(["one"], [StepScores(0, np.ones(1)), StepScores(1, np.ones(1))]) is None
        assert heat.slice_moves([]) is None
        assert heat.slice_moves([update(0, n_slices=3)]) is None


def test_that_a_zero_move_and_a_zero_misfit_are_drawn():
    with drawing():
        still = update(0, moved_in_spread={"logk": 0.0}, by_slice=np.zeros(6))
        assert lines.moves([still]) is not None
        assert heat.slice_moves([still]) is not None
        steps = [StepScores(step, np.zeros(2)) for step in range(2)]
        assert heat.group_misfits(["a", "b"], steps) is not None
