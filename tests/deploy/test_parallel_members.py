"""The page about parallel members: its example is a workflow, its script is what would be sent."""

import re
import sys
from pathlib import Path

import pytest

from daflow.assemble.driving.member_jobs import member_script
from daflow.config.load import load_workflow, starter_text, workflow_from
from daflow.config.yaml_text import parse_document

PAGE = (Path(__file__).parents[2] / "deploy" / "PARALLEL_MEMBERS.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(SCRIPT,) = re.findall(r"```\n(#!/bin/bash.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def ocean(tmp_path):
    path = tmp_path / "workflow.yaml"
    path.write_text(EXAMPLES[1])
    return load_workflow(path)


def test_that_both_examples_can_be_read(tmp_path, ocean):
    starter = parse_document(starter_text(), "starter").values
    made = workflow_from(starter | parse_document(EXAMPLES[0], "page").values, tmp_path)
    assert made.execution.member.cores == 4
    assert ocean.execution.member.tasks == 64
    assert len(EXAMPLES) == 2


def test_that_the_script_on_the_page_is_that_of_the_example(ocean, tmp_path):
    jobs = tmp_path / "RUN" / "work" / "member_jobs" / "STEP"
    script = member_script(ocean, tmp_path / "RUN").replace(str(jobs), "JOBS")
    assert script.replace(str(tmp_path / "RUN"), "RUN").replace(sys.executable, "python") == SCRIPT


def test_that_the_page_names_every_key_of_the_section(ocean):
    for name in type(ocean.execution.member).model_fields:
        assert re.search(rf"\b{name}\b", PAGE), name
