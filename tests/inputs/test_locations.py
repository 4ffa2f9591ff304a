"""Where observations lie: a second table, matched by name."""

from __future__ import annotations

import numpy as np
import pytest

from daflow.errors import DataError
from daflow.inputs.locations import located

NOWHERE = np.full(3, np.nan)
TABLE = {"name": np.array(["B", "A", "B"]), "x": NOWHERE, "y": NOWHERE, "z": NOWHERE}


@pytest.fixture
def wells(tmp_path):
    def write(text):
        path = tmp_path / "wells.csv"
        path.write_text(text)
        return path

    return write


def test_that_each_observation_lies_where_its_name_does(wells):
    table = located(TABLE, wells("name,x,y\nA,1,2\nB,3,4\nC,5,6\n"))
    assert table["x"].tolist() == [3, 1, 3]
    assert table["y"].tolist() == [4, 2, 4]
    assert np.isnan(table["z"]).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("well,x\nA,1\n", "not a table of locations"),
        ("name,depth\nA,1\n", "not a table of locations"),
        ("name,x\nA,1\nA,2\nB,3\n", "names stand twice"),
        ("name,x\nA,1\n", "observations have names that are not in it"),
        ("name,x\nA,1\nB,east\n", "not numbers"),
        ("name,x\nA,1\nB,inf\n", "not finite"),
    ],
)
def test_that_a_table_that_cannot_place_an_observation_is_refused(wells, text, words):
    with pytest.raises(DataError, match=words):
        located(TABLE, wells(text))


def test_that_two_places_for_one_observation_are_refused(wells):
    with pytest.raises(DataError, match="coordinates x already"):
        located(TABLE | {"x": np.ones(3)}, wells("name,x\nA,1\nB,2\n"))
