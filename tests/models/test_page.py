"""What the page on models of one's own shows is what works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import daflow.models
from daflow.assemble.looking_ahead.preview import preview
from daflow.assemble.sections.build import model_of
from daflow.config.load import load_workflow
from daflow.inputs.tables import read_columns
from daflow.ports import MemberInput

PAGE = (Path(daflow.models.__file__).parent / "README.md").read_text(encoding="utf-8")
TIMES = np.array([0.5, 1.0, 1.5])
FILES = {"measured.csv": 0, "tank.py": 0, "tank.sh": 0, "tank.template": 0, "drain.py": 1}
"""Each file on the page, and which block of its language it is."""
LANGUAGES = {".csv": "csv", ".py": "python", ".sh": "sh", ".template": "text"}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path):
    for name, place in FILES.items():
        (tmp_path / name).write_text(blocks(LANGUAGES[Path(name).suffix])[place])
    (tmp_path / "tank.sh").chmod(0o755)
    return tmp_path


def workflow(folder, number):
    (folder / "workflow.yaml").write_text(blocks("yaml")[number])
    return load_workflow(folder / "workflow.yaml")


def given(folder, **parameters):
    for kind in ("work", "logs"):
        (folder / kind).mkdir()
    columns = read_columns(folder / "measured.csv")
    table = {"name": columns["name"], "time": columns["time"].astype(float)}
    arrays = {name: np.array(value) for name, value in parameters.items()}
    return MemberInput(5, 0, arrays, table, 99, folder / "work", folder / "logs")


@pytest.mark.parametrize("number", range(3))
def test_that_the_workflows_on_the_page_are_good(folder, number):
    assert len(blocks("yaml")) == 3
    assert preview(workflow(folder, number)).n_obs == 3


@pytest.mark.parametrize("number", [0, 1])
def test_that_the_function_and_the_program_are_the_same_model(folder, number):
    model = model_of(workflow(folder, number))
    predicted = model.forecast(given(folder, rate=1.25))
    np.testing.assert_allclose(predicted, np.exp(-1.25 * TIMES), rtol=1e-8)


def test_that_the_state_goes_on(folder):
    model = model_of(workflow(folder, 2))
    advanced = model.advance(given(folder, level=2.0, rate=1.0), 0.5, 1.5)
    np.testing.assert_allclose(advanced.predicted, 2 * np.exp(0.5 - TIMES))
    assert advanced.state["level"] == pytest.approx(2 * np.exp(-1))
