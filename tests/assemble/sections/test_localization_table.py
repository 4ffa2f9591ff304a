"""What the page on localization shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from daflow.assemble.sections.localization_table import SETTINGS, localization_table
from daflow.config.localization import LocalizationSettings

PAGE = Path(__file__).parents[3] / "daflow" / "numerics" / "localization" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_that_the_page_has_the_table_that_methods_and_settings_declare():
    # Where it has not: put there what localization_table() returns.
    found = re.search(r"<!-- methods: begin -->\n(.*?)<!-- methods: end -->", TEXT, flags=re.DOTALL)
    assert found
    assert found[1] == localization_table()


@pytest.mark.parametrize("text", blocks("yaml"))
def test_that_the_sections_on_the_page_are_sections(text):
    TypeAdapter(LocalizationSettings).validate_python(yaml.safe_load(text)["localization"])


def test_that_the_page_tells_every_kind_and_family():
    for settings in SETTINGS:
        assert f"`{settings.model_fields['kind'].default}`" in TEXT
        family = settings.model_fields.get("family")
        for name in () if family is None else get_args(family.annotation):
            assert f"`{name}`" in TEXT


def test_that_the_function_on_the_page_returns_weights():
    (text,) = blocks("python")
    names = {}
    exec(text, names)  # noqa: S102 - the page's own
    points, observations = {"x": np.array([0.0, 199.0])}, {"x": np.array([1.0, 150.0, 100.0])}
    np.testing.assert_array_equal(names["weights"](points, observations, 120), [[1, 0, 1], [0, 1, 0]])
