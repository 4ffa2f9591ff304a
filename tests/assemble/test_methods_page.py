"""The users' page of smoothers is true: its workflows load, its kinds and settings are all there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from daflow.assemble.sections.methods import check_method, n_steps_of
from daflow.assemble.sections.smoothers import SMOOTHERS
from daflow.config.es_mda import MOST_STEPS
from daflow.config.load import json_schema, workflow_from

PAGE = (Path(__file__).parents[2] / "daflow" / "methods" / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    block for text in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL) for block in text.split("---\n")
]


def of_kind(kind: str) -> str:
    """Return what the page says of a kind, from its heading to the next."""
    return re.search(rf"^## `{kind}`.*?(?=^## )", PAGE, flags=re.DOTALL | re.MULTILINE)[0]


@pytest.mark.parametrize("block", BLOCKS)
def test_that_a_section_on_the_page_loads(block):
    made = workflow_from(
        {
            "parameters": {"a": {"shape": [40], "prior": {"kind": "normal", "mean": 0.0, "std": 1.0}}},
            "model": {"kind": "callable", "function": "model:forecast"},
            "observations": {"kind": "twin", "error": {"default": {"absolute": 1.0}}},
            **yaml.safe_load(block),
        }
    )
    check_method(made)
    assert made.method.kind in SMOOTHERS
    assert n_steps_of(made) >= 1


@pytest.mark.parametrize("kind", SMOOTHERS)
def test_that_every_kind_has_its_place_with_all_its_settings(kind):
    schema = json_schema()
    name = schema["properties"]["method"]["discriminator"]["mapping"][kind].rpartition("/")[2]
    said = of_kind(kind)
    for key in schema["$defs"][name]["properties"]:
        assert key == "kind" or f"`{key}" in said, key
    assert "Source" in said
    takes_all = SMOOTHERS[kind].localizations != {"none"}
    assert ("Localizations: all" in said) == takes_all
    assert re.search(r"Localizations:\s+none", said) is None or not takes_all
    assert f"[`{kind}`](#{anchor(said)})" in PAGE


def anchor(said: str) -> str:
    """Return what a link to the heading is called."""
    heading = said.splitlines()[0].removeprefix("## ").lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def test_that_the_page_says_how_many_steps_a_search_may_have():
    assert f"({MOST_STEPS} if you do not\nsay)" in PAGE
