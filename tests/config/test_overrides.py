from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daflow.config.load import load_workflow, starter_text
from daflow.config.overrides import parse_override, with_overrides
from daflow.errors import ConfigError

VALUES = {"seed": 1, "ensemble": {"size": 10}, "parameters": {"a": {"prior": {"rows": [1, 2]}}}}


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    path = tmp_path / "workflow.yaml"
    path.write_text(starter_text())
    return path


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("a.b.c=1e-3", ("a", "b", "c"), 1e-3),
        (" a . b = x ", ("a", "b"), "x"),
        ("a=", ("a",), None),
        ("a=null", ("a",), None),
        ("a=b=c", ("a",), "b=c"),
        ("a='3'", ("a",), "3"),
        ("a=[1, 2]", ("a",), [1, 2]),
        ("a={x: 1}", ("a",), {"x": 1}),
        ("a=true", ("a",), True),
    ],
)
def test_that_a_value_is_yaml(text: str, key: tuple[str, ...], value: object) -> None:
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "key.sub=value"),
        ("=3", "key.sub=value"),
        ("a..b=3", "key.sub=value"),
        (".a=3", "key.sub=value"),
        ("a=[1", "--set a, line 1"),
        ("a={x: 1, x: 2}", "--set a: x: the key stands twice"),
        ("seed.x=3", "'x' lies below a value that has no keys"),
        ("parameters.a.prior.rows.5=3", "0 to 1"),
        ("parameters.a.prior.rows.x=3", "set the whole list"),
    ],
)
def test_that_what_is_no_setting_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(VALUES, [text])
    assert words in str(caught.value)


@given(st.lists(st.integers(), min_size=1, max_size=5))
def test_that_the_last_setting_wins_and_the_file_stays_as_it_was(seeds: list[int]) -> None:
    before = deepcopy(VALUES)
    changed, keys = with_overrides(VALUES, [f"ensemble.size={seed}" for seed in seeds])
    assert changed["ensemble"]["size"] == seeds[-1]
    assert keys == [("ensemble", "size")] * len(seeds)
    assert before == VALUES
    assert {key: value for key, value in changed.items() if key != "ensemble"} == {
        key: value for key, value in before.items() if key != "ensemble"
    }


def test_that_no_setting_changes_nothing() -> None:
    assert with_overrides(VALUES, []) == (VALUES, [])


def test_that_an_entry_of_a_list_can_be_set() -> None:
    changed, keys = with_overrides(VALUES, ["parameters.a.prior.rows.1=7"])
    assert changed["parameters"]["a"]["prior"]["rows"] == [1, 7]
    assert keys == [("parameters", "a", "prior", "rows", 1)]


def test_that_a_section_left_out_starts_from_its_default_kind(starter: Path) -> None:
    text = starter.read_text()
    starter.write_text(text[: text.index("execution:")])
    workflow = load_workflow(starter, ["execution.workers=7", "method.steps=2", "policy.retries=0"])
    assert workflow.execution.model_dump()["workers"] == 7
    assert (workflow.method.steps, workflow.policy.retries) == (2, 0)


def test_that_a_section_of_the_word_none_can_be_given_keys(starter: Path) -> None:
    starter.write_text(starter.read_text() + "\ninflation: none\n")
    settings = ["inflation.kind=multiplicative", "inflation.factor=1.05"]
    assert load_workflow(starter, settings).inflation.model_dump()["factor"] == 1.05
    with pytest.raises(ConfigError, match="'none' is a word by itself here"):
        load_workflow(starter, ["inflation={kind: none}"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ensemble.sise=3", ["ensemble.sise (by --set)", "did you mean 'size'?"]),
        ("polixy.retries=3", ["polixy (by --set)", "did you mean 'policy'?"]),
        ("ensemble.size=many", ["ensemble.size (by --set)", "a whole number"]),
        ("policy.min_members=61", ["policy.min_members (by --set)", "2 to 60"]),
        ("model.kind=linear", ["model.forcing", "there is no such key", "--set 'model={kind: linear}'"]),
        (
            "method.kind=etkf",
            ["method.steps (line", "allowed: kind, rotation", "--set 'method={kind: etkf}'"],
        ),
        ("method.kind=esmda", ["method.kind (by --set)", "did you mean 'es_mda'?", "correct it there"]),
    ],
)
def test_that_a_bad_setting_is_told_from_a_bad_line(starter: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_workflow(starter, [text])
    for word in words:
        assert word in str(caught.value)
