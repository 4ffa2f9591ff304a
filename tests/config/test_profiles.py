"""Profiles: where they are found, what they replace, and how they are told of when they are wrong."""

from __future__ import annotations

import pytest

from daflow.config.load import load_workflow, starter_text
from daflow.config.profiles import folders, load_profile
from daflow.errors import ConfigError

SLURM = "execution:\n  kind: slurm\n  jobs: 7\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without profiles, a workflow, and its folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("DAFLOW_PROFILES", raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "workflow.yaml").write_text(starter_text())
    return folder


def written(path, text=SLURM):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_that_a_profile_takes_the_place_of_the_execution_section_and_of_nothing_else(home):
    written(home / "big.yaml", SLURM + "policy: {retries: 5}\n")
    file = home / "workflow.yaml"
    before, after = load_workflow(file), load_workflow(file, profile="big")
    assert (after.execution.kind, after.execution.jobs) == ("slurm", 7)
    assert after.policy.min_members == before.policy.min_members == 20
    assert after.policy != before.policy
    assert after.model_copy(update={"execution": before.execution, "policy": before.policy}) == before


def test_that_settings_on_the_command_line_win_over_a_profile(home):
    written(home / "big.yaml")
    assert load_workflow(home / "workflow.yaml", ["execution.jobs=3"], "big").execution.jobs == 3


def test_that_names_are_looked_for_in_the_variable_then_at_home_then_beside_the_workflow(home, monkeypatch):
    beside = written(home / "big.yml")
    assert load_profile("big", home).path == beside
    at_home = written(home.parent / "home" / ".config" / "daflow" / "profiles" / "big.yaml")
    assert load_profile("big", home).path == at_home
    named = written(home.parent / "site" / "big" / "profile.yaml")
    monkeypatch.setenv("DAFLOW_PROFILES", f"{home.parent / 'nowhere'}:{home.parent / 'site'}")
    assert load_profile("big", home).path == named
    assert folders(home)[-1] == home
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home.parent / "xdg"))
    assert folders(home)[2] == home.parent / "xdg" / "daflow" / "profiles"


def test_that_a_path_is_taken_as_it_is(home, monkeypatch):
    path = written(home.parent / "elsewhere" / "x.yaml")
    assert load_profile(str(path), home).path == path
    monkeypatch.chdir(path.parent)
    assert load_profile("x.yaml", home).path.resolve() == path.resolve()


def test_that_a_name_that_is_not_there_is_told_with_what_was_looked_for_and_what_is_there(home):
    written(home / "slurm_big.yaml")
    with pytest.raises(ConfigError) as error:
        load_workflow(home / "workflow.yaml", profile="slurm_bigg")
    text = str(error.value)
    assert "did you mean 'slurm_big'" in text
    assert "slurm_bigg.yaml, slurm_bigg.yml, slurm_bigg/profile.yaml in" in text
    assert str(home) in text
    assert "$DAFLOW_PROFILES" in text
    # The workflow itself is no profile.
    assert error.value.allowed == "slurm_big"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("executions:\n  kind: slurm\n", ["(line 2)", "did you mean 'execution'"]),
        ("execution: {kind: local}\nensemble: {size: 5}\n", ["line 2", "ensemble", "execution, policy"]),
        ("", ["empty"]),
        ("- a\n", ["not a mapping"]),
    ],
)
def test_that_a_profile_that_says_something_else_is_refused(home, text, said):
    path = written(home / "odd.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_workflow(home / "workflow.yaml", profile="odd")
    assert [part for part in [str(path), *said] if part not in str(error.value)] == []


def test_that_a_wrong_key_in_a_profile_is_told_with_its_file_and_line(home):
    path = written(home / "odd.yaml", "execution:\n  kind: slurm\n  job: 3\n")
    with pytest.raises(ConfigError, match="did you mean 'jobs'") as error:
        load_workflow(home / "workflow.yaml", profile="odd")
    assert f"execution.job ({path}, line 3)" in str(error.value)


def test_that_a_file_that_cannot_be_read_is_told(home):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile("no/such.yaml", home)
