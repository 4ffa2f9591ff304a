"""The pictures' numbers: shares of time, spread, colour scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.names import Phase
from daflow.report import PhaseTiming, StepSpread
from daflow.report.figures import (
    busy_shares,
    busy_split,
    misfit_against_spread,
    misfit_by_step,
    shown_timings,
    wall_time,
)
from daflow.report.style import PALETTE, drawing

SECONDS = st.floats(0, 1e6)


@given(
    st.fixed_dictionaries(
        {}, optional={f"{part}_seconds": SECONDS for part in ("read", "model", "compute", "write")}
    ),
    SECONDS,
)
def test_that_shares_of_busy_time_sum_to_a_hundred_and_none_is_negative(figures, busy):
    split = busy_split(PhaseTiming(Phase.FORECAST, 0, 1, 1.0, busy, figures))
    assert sum(split.values()) == pytest.approx(100)
    assert min(split.values()) >= 0


def test_that_shares_are_drawn_only_where_somebody_measured_them():
    with drawing():
        assert busy_shares([PhaseTiming(Phase.FORECAST, 0, 1, 1.0, 1.0, {"norm": 3.0})]) is None


def test_that_time_that_was_not_there_is_drawn():
    with drawing():
        assert "0 s" in wall_time([PhaseTiming(Phase.PRIOR, 0, 0, 0.0, 0.0)]).svg


def test_that_sums_over_steps_keep_every_second():
    timings = [
        PhaseTiming(phase, step, 2, 1.0, 1.5, {"read_seconds": 0.5})
        for step in range(20)
        for phase in (Phase.FORECAST, Phase.UPDATE)
    ]
    shown, note = shown_timings(timings)
    assert [each.phase for each in shown] == [Phase.FORECAST, Phase.UPDATE]
    assert sum(each.wall_seconds for each in shown) == 40
    assert shown[0].figures == {"read_seconds": 10.0}
    assert note


def test_that_a_variable_without_prior_spread_has_no_path():
    spread = [
        StepSpread(0, {"flat": 0.0, "gone": 1.0, "kept": 2.0}),
        StepSpread(1, {"flat": 0.0, "kept": 1.0}),
    ]
    with drawing():
        assert misfit_against_spread([2.0, 1.0], [StepSpread(0, {"flat": 0.0})] * 2) is None
        assert misfit_against_spread([], []) is None
        picture = misfit_against_spread([2.0, 1.0], spread)
    assert picture is not None
    assert "kept 50.0 %" in picture.svg
    assert "gone" not in picture.svg


def test_that_misfits_over_many_decades_and_of_zero_are_drawn():
    with drawing():
        assert "1e+06" in misfit_by_step([0, 1], [np.full(3, 1e7), np.full(3, 0.5)]).svg
        assert misfit_by_step([0], [np.zeros(3)]).svg


def test_that_colours_are_told_apart_in_a_finished_picture():
    light = [light for light, _ in PALETTE.values()]
    assert len(set(light)) == len(light)
