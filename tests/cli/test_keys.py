"""What `daflow schema KEY` says."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from daflow.cli.keys import described
from daflow.config.load import json_schema
from daflow.config.schema import Workflow
from daflow.errors import DataError


def told(key):
    text = StringIO()
    for part in described(json_schema(), key):
        Console(file=text, width=400).print(part)
    return [" ".join(line.split()) for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("section", Workflow.model_fields)
def test_that_every_section_is_described(section):
    title = told(section)[0]
    assert title.startswith(f"{section}: ")
    assert len(title) > len(section) + 10


def test_that_a_section_with_kinds_lists_them_and_a_kind_its_keys():
    assert any(line.startswith("lorenz96 The model of Lorenz (1996)") for line in told("model"))
    assert "`daflow schema model.callable` has the keys of one" in told("model")
    command = told("model.command")
    assert any(line.startswith("command (needed) The program and its arguments") for line in command)
    assert any(line.startswith("timeout Seconds after which") for line in command)
    assert any(line.startswith('keep "failed"') and "failed, always, never" in line for line in command)


@pytest.mark.parametrize("key", ["parameters.prior.normal", "parameters.permx.prior.normal"])
def test_that_names_of_the_users_own_may_be_left_out(key):
    assert any(line.startswith("std (needed) ") for line in told(key))


def test_that_a_value_is_told_with_its_default():
    assert told("ensemble.size")[-1] == "default: 100"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("modle", "did you mean 'model'?"),
        ("model.comand", "did you mean 'command'?"),
        ("method.es_mda.step", "did you mean 'steps'?"),
        ("ensemble.size.large", "nothing: it is a value"),
    ],
)
def test_that_a_key_that_is_not_there_is_refused_with_what_is(key, words):
    with pytest.raises(DataError, match="there is no such key") as caught:
        told(key)
    assert words in str(caught.value)
