"""Groups of observations and their misfit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.report.groups import EVERYTHING, group_misfits, member_misfits, observation_groups

LABELS = st.lists(
    st.tuples(st.sampled_from(["", "P1", "P2"]), st.sampled_from(["", "a", "b"])), min_size=1, max_size=30
)


@given(LABELS)
def test_that_every_row_is_in_exactly_one_group_of_its_label(labels):
    table = {
        "value": np.zeros(len(labels)),
        "well": np.array([well for well, _ in labels]),
        "kind": np.array([kind for _, kind in labels], dtype=object),
    }
    groups = observation_groups(table)
    assert sorted(np.concatenate([group.rows for group in groups])) == list(range(len(labels)))
    for group in groups:
        assert len({labels[row] for row in group.rows}) == 1
        assert (np.diff(group.rows) > 0).all()
    assert len(groups) == len(set(labels))


def test_that_a_table_without_kinds_is_one_group():
    (group,) = observation_groups({"value": np.zeros(3)})
    assert group.label == EVERYTHING
    assert list(group.rows) == [0, 1, 2]


def test_that_groups_come_worst_first_and_average_to_the_whole(make_contents):
    contents = make_contents()
    groups = group_misfits(contents)
    latest = [each.latest for each in groups]
    assert latest == sorted(latest, reverse=True)
    whole = sum(each.latest * len(each.group.rows) for each in groups) / contents.n_obs
    assert whole == pytest.approx(member_misfits(contents)[-1].mean(), rel=1e-12)


def test_that_a_group_off_by_two_errors_has_misfit_four(make_contents):
    given_contents = make_contents(n_forecasts=1)
    table = given_contents.observations
    forecast = type(given_contents.predictions[0])(
        0, [0, 1], np.tile(table["value"] + 2 * table["error_std"], (2, 1))
    )
    for each in group_misfits(make_contents(predictions=[forecast])):
        assert each.prior == pytest.approx(4)
        assert each.posterior is None


def test_that_names_stand_for_places_where_each_has_several_observations():
    kind = np.array(["rate"] * 8)
    wells = {"value": np.zeros(8), "kind": kind, "name": np.array(["P1", "P2"] * 4)}
    assert len(observation_groups(wells)) == 2
    single = wells | {"name": np.array([f"obs {i}" for i in range(8)])}
    assert len(observation_groups(single)) == 1
