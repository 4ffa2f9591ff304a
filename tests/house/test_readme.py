"""What the README shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import daflow
from daflow.cli.app import app
from daflow.config.load import workflow_from
from daflow.config.methods import EsMdaSettings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_that_the_workflow_in_the_readme_is_one():
    whole, _ = blocks("yaml")
    workflow = workflow_from(yaml.safe_load(whole), ROOT)
    assert workflow.layout_variables()[0].shape == (64, 160)


def test_that_the_filter_in_the_readme_fits_in_there():
    whole, filtering = (yaml.safe_load(text) for text in blocks("yaml"))
    workflow = workflow_from(whole | filtering, ROOT)
    assert workflow.cycling is not None


def test_that_the_commands_in_the_readme_exist():
    named = set(re.findall(r"\bdaflow (\w[\w-]*)", "".join(blocks(""))))
    assert {"init", "check", "run", "status", "report", "resume"} <= named
    for command in named:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_that_the_python_in_the_readme_compiles_and_names_what_is_there():
    for text in blocks("python"):
        compile(text, "README.md", "exec")
        for name in re.findall(r"\bdaflow\.(\w+)\(", text):
            assert hasattr(daflow, name)


def test_that_the_inversions_on_the_page_of_methods_are_all_there_are():
    allowed = EsMdaSettings.model_json_schema()["properties"]["inversion"]["enum"]
    page = (ROOT / "daflow" / "methods" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in allowed)


@pytest.mark.parametrize("target", ["demo", "test", "check", "format", "bench"])
def test_that_the_make_targets_in_the_readme_exist(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not {".venv", "build", "runs"} & set(path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_that_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target
