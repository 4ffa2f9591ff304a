"""The page of a filter: how good its states are, cycle by cycle."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from daflow.report import CycleScores, ReportContents, StepPredictions
from daflow.report.cycles import cycle_pictures
from daflow.report.page import render
from daflow.report.style import drawing


def scores(n_cycles, *, truth=True, chi_square=1.5):
    def of(value):
        return {"wind": value, "rain": 2 * value}

    return [
        CycleScores(
            step,
            0.5 * (step + 1),
            of(1.0 / (step + 1)),
            of(0.5 / (step + 1)),
            of(1.0) if truth else {},
            of(0.8) if truth else {},
            chi_square,
        )
        for step in range(n_cycles)
    ]


def contents(n_cycles, **more):
    table = {"value": np.arange(4.0), "error_std": np.ones(4), "time": np.arange(4.0)}
    predicted = StepPredictions(0, range(3), np.arange(4.0) + np.ones((3, 1)))
    return ReportContents("f", "finished", table, 3, 6, n_cycles, predictions=[predicted], **more)


def test_that_a_picture_a_variable_and_one_of_chi_square_are_drawn():
    with drawing():
        pictures = cycle_pictures(scores(5))
        assert [picture.title for picture in pictures] == ["wind", "rain", "Innovations"]
        assert "analysis spread 0.500 to 0.100" in pictures[0].svg
        assert cycle_pictures([]) == []


def test_that_the_error_of_smoothed_states_is_drawn_where_there_are_such():
    filtered = scores(4)
    smoothed = [replace(one, smoothed_rmse={"wind": 0.4 + 0.1 * one.step}) for one in filtered[:3]]
    with drawing():
        pictures = cycle_pictures([*smoothed, filtered[3]])
        assert "smoothed error 0.400 to 0.600" in pictures[0].svg
        assert "smoothed error" not in pictures[1].svg
        assert "smoothed error" not in cycle_pictures(filtered)[0].svg


def test_that_what_is_not_known_is_left_out():
    with drawing():
        pictures = cycle_pictures(scores(100, truth=False, chi_square=None))
        assert [picture.title for picture in pictures] == ["wind", "rain"]
        assert "forecast error" not in pictures[0].svg
        assert "forecast spread" in pictures[0].svg


@pytest.mark.parametrize("truth", [None, np.arange(4.0)])
def test_that_the_page_of_a_filter_tells_of_cycles_and_not_of_a_posterior(truth):
    page = render(contents(3, cycles=scores(3, truth=truth is not None), truth=truth))
    assert 'id="cycles"' in page
    assert "3 analyses of 3" in page
    assert "In the forecasts of all cycles" in page
    assert ("root mean square of the ensemble mean" in page) == (truth is not None)
    assert "Only the prior" not in page
    assert "starts from the analysis of the cycle before" in page
    assert ">forecasts</th>" in page
    assert "osterior" not in re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>|class=\"posterior\"", "", page)
    assert 'id="steps"' not in page


def test_that_the_page_of_a_smoother_has_no_cycles():
    page = render(contents(3))
    assert 'id="cycles"' not in page
    assert 'id="steps"' in page
