"""Maps: shared scales, profiles, and fields with nothing to scale by."""

import re

import numpy as np
import pytest

from daflow.report import Moments
from daflow.report.maps import map_panels
from daflow.report.style import drawing


def drawn(maps):
    with drawing():
        return {each.title: each for each in map_panels(maps, "m")}


def scale_of(panel):
    """The colour bar's tick labels."""
    return re.findall(r">([^<>\s]+)</text>", panel.svg[panel.svg.index("-axes_2") :])


def test_that_prior_posterior_and_truth_share_one_colour_scale(make_maps):
    panels = drawn(make_maps(points={}))
    assert set(panels) == {"Prior mean", "Posterior mean", "Prior spread", "Posterior spread", "Truth"}
    assert len(scale_of(panels["Prior mean"])) > 2
    assert scale_of(panels["Prior mean"]) == scale_of(panels["Posterior mean"]) == scale_of(panels["Truth"])
    assert scale_of(panels["Prior spread"]) == scale_of(panels["Posterior spread"])


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_that_constant_fields_and_fields_without_any_number_are_drawn(make_maps, value):
    same = Moments(np.full((3, 4), value), np.full((3, 4), value))
    panels = drawn(make_maps(prior=same, posterior=None, truth=None))
    assert set(panels) == {"Prior mean", "Prior spread"}
    assert all("<image" in panel.svg for panel in panels.values())


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (1, 1)])
def test_that_a_field_in_one_dimension_is_a_profile(make_maps, shape):
    assert set(drawn(make_maps(shape=shape))) == {"Profile"}


def test_that_a_profile_without_an_update_or_truth_is_drawn(make_maps):
    assert set(drawn(make_maps(shape=(1, 5), updated=False, truth=None))) == {"Profile"}


def test_that_a_stretched_map_says_so(make_maps):
    panels = drawn(make_maps(extent=(0.0, 5000.0, 0.0, 40.0), updated=False, truth=None))
    assert panels["Prior mean"].note == "axes not to the same scale"


def test_that_many_points_on_a_map_go_without_names(make_maps):
    named, nameless = (
        drawn(make_maps(points={f"W{i}": (i, i) for i in range(n)}, updated=False, truth=None))[
            "Prior mean"
        ].svg
        for n in (3, 30)
    )
    assert ">W2<" in named
    assert ">W2<" not in nameless
