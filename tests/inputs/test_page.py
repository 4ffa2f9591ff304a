"""What the page on observations shows is what there is."""

import re
from pathlib import Path

import daflow.inputs
from daflow.assemble.reading.opened import Run
from daflow.config.load import workflow_from
from daflow.config.quality import BackgroundCheckSettings, ReconditionSettings
from daflow.config.yaml_text import parse_value
from daflow.methods.judging import FLAGS

PAGE = (Path(daflow.inputs.__file__).parent / "OBSERVATIONS.md").read_text(encoding="utf-8")
REST = {
    "parameters": {"a": {"shape": [3], "prior": {"kind": "normal", "mean": 0, "std": 1}}},
    "model": {"kind": "linear", "variable": "a", "n": 3},
    "observations": {"kind": "file", "path": "o.csv"},
}


def blocks():
    # As daflow reads it: to plain YAML 1.1 the key `on` is a truth value.
    return [parse_value(text, "page") for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)]


def test_that_the_settings_on_the_page_can_be_used():
    shown = [workflow_from(REST | block, Path("unused")) for block in blocks()]
    assert len(shown) == 5
    assert shown[-1].policy.missing_predictions == "drop_observations"


def test_that_every_way_action_flag_and_figure_is_on_the_page():
    ways = ReconditionSettings.model_json_schema()["properties"]["way"]["enum"]
    actions = BackgroundCheckSettings.model_json_schema()["properties"]["action"]["enum"]
    named = [*ways, *actions, *FLAGS, "obs_used", "obs_left_out", *(f"obs_{name}" for name in FLAGS[1:])]
    assert [word for word in named if f"`{word}`" not in PAGE] == []


def test_that_the_calls_on_the_page_exist():
    named = set(re.findall(r"`run\.(\w+)\(", PAGE))
    assert named == {"flags", "desroziers"}
    assert all(callable(getattr(Run, name)) for name in named)
