"""Branches: another analysis of a forecast that is there."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import daflow
from daflow.assemble.branching import plan_for
from daflow.assemble.driving import launch
from daflow.assemble.folder import make_run, open_folder
from daflow.assemble.what_if.branches import analyse, make_branches
from daflow.assemble.what_if.wishes import MOST_BRANCHES, wishes_of
from daflow.config.load import load_workflow
from daflow.errors import ConfigError, DataError
from daflow.names import Phase
from daflow.runs.journal import read_journal
from tests.assemble.branch_runs import branch, files_in, pool_of
from tests.assemble.reading.test_opened import MEMORY
from tests.end_to_end.small_run import (
    CALLABLE,
    RING,
    WELL,
    assert_same_bits,
    finals,
    run_inline,
    written,
)

FILE = """
name: measured
seed: 5
ensemble: {size: 12}
parameters:
  level: {shape: [14], prior: {kind: normal, mean: 0, std: 1}}
model: {kind: callable, function: 'model:forecast'}
observations: {kind: file, path: observations.csv}
method: {kind: es_mda, steps: 2}
storage: {slice_size: 4}
"""
FILTER = """
name: filter
seed: 7
ensemble: {size: 12}
parameters:
  wave: {shape: [16], dims: [component], prior: {kind: normal, mean: 2.3, std: 2.0}}
model: {kind: lorenz96, variable: wave, n: 16, n_times: 4}
observations: {kind: twin, error: {default: {absolute: 1.0}}}
cycling: {}
method: {kind: etkf}
storage: {slice_size: 8}
"""
TABLE = "name,kind,time,value,error_std\na,k,0,0.3,0.5\nb,k,1,-0.2,0.5\nc,k,2,1.1,0.5\n"


@pytest.fixture(autouse=True)
def done(monkeypatch):
    """Let runs be driven in this process; return the tasks that are done, as they are."""
    tasks = []
    monkeypatch.setattr(launch, "_pool", pool_of(tasks))
    return tasks


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path():
    """Yield a folder in memory where there is such a disk: syncs are free there."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def ring(place):
    return written(place / "ring", RING)


@pytest.fixture(scope="module")
def parent(ring, place):
    """A run of three updates of a ring."""
    return run_inline(ring, place / "run")


@pytest.fixture
def copied(parent, tmp_path):
    """A copy of the run without branches."""
    return shutil.copytree(parent.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("branches"))


def parameters(run, step):
    return {name: array.values for name, array in run.parameters(step).items()}


@pytest.mark.parametrize("step", [0, 2])
def test_that_a_branch_with_no_changes_has_the_bits_of_the_run_s_own_analysis(parent, done, step):
    before = files_in(parent.folder)
    same = branch(parent.folder, step=step)
    assert_same_bits(parameters(same, step + 1), parameters(parent, step + 1))
    assert plan_for(open_folder(same.folder)).keys == plan_for(open_folder(parent.folder)).keys
    assert [(task.phase, task.step) for task in done] == [(Phase.PREPARE, step)] + 3 * [(Phase.UPDATE, step)]
    assert files_in(parent.folder) == before
    assert same.status().state == "analysed"


def test_that_a_branch_is_a_run_with_all_steps_up_to_its_analysis(parent):
    wide = branch(parent.folder, "localization.lengths.x=9", step=1, name="wide")
    for step in (0, 1):
        assert_same_bits(parameters(wide, step), parameters(parent, step))
        assert wide.predicted(step).identical(parent.predicted(step))
    assert not np.array_equal(parameters(wide, 2)["start"], parameters(parent, 2)["start"])
    assert np.array_equal(parameters(wide, 2)["forcing"], parameters(parent, 2)["forcing"])
    assert wide.parameters().identical(wide.parameters(2))
    assert wide.observations().identical(parent.observations())
    assert wide.truth()["start"].equals(parent.truth()["start"])
    with pytest.raises(DataError, match="step 3"):
        wide.parameters(3)
    assert "ring, wide" in wide.report().read_text()
    assert wide.n_steps == 3
    assert {stage.phase for stage in wide.status().stages if stage.done} == {"prepare", "update"}
    assert parent.branches()["wide"].folder == wide.folder
    assert json.loads((wide.folder / "branch.json").read_text())["changed"] == {"localization.lengths.x": 9}


@pytest.mark.parametrize(
    "override",
    [
        "localization.kind=none",
        "inflation={kind: multiplicative, factor: 1.1}",
        "parameters.forcing.transform={kind: normal_score}",
        "method={kind: es_mda, alphas: {restricted: {}}}",
    ],
)
def test_that_a_branch_at_the_first_step_gone_on_with_is_a_run_with_its_settings(
    ring, parent, tmp_path, override
):
    changed = branch(parent.folder, override, step=0)
    assert changed.resume().kind == "finished"
    plain = "localization={kind: none}" if override == "localization.kind=none" else override
    whole = run_inline(ring, tmp_path / "run", plain)
    assert changed.n_steps == whole.n_steps
    assert_same_bits(finals(changed), finals(whole))
    assert not np.array_equal(parameters(changed, 1)["forcing"], parameters(parent, 1)["forcing"]) or not (
        np.array_equal(parameters(changed, 1)["start"], parameters(parent, 1)["start"])
    )


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=12", "seed"),
        ("ensemble.size=21", "ensemble.size"),
        ("ensemble.exclude=[3]", "ensemble.exclude"),
        ("model.every_steps=3", "model.every_steps"),
        ("parameters.start.prior.std=1.0", "parameters.start.prior.std"),
        ("grids.ring.spacing=[2]", "grids.ring.spacing"),
        ("observations.error.default.absolute=0.6", "observations.error.default.absolute"),
        ("storage.slice_size=5", "storage.slice_size"),
        ("storage.dtype=float32", "storage.dtype"),
    ],
)
def test_that_a_setting_that_the_forecast_depends_on_is_refused(parent, override, key):
    before = sorted((parent.folder / "branches").glob("*"))
    with pytest.raises(ConfigError, match=rf"--set {key}: the forecast depends on it"):
        branch(parent.folder, "localization.lengths.x=9", override, step=0)
    assert sorted((parent.folder / "branches").glob("*")) == before


@pytest.mark.parametrize(
    ("overrides", "step", "message"),
    [
        (["method.steps=5"], 1, r"method.steps: cannot change at step 1"),
        (["method={kind: eki}"], 1, r"method.kind: cannot change at step 1"),
        (["method.alphas=[2, 4, 4]"], 1, r"method.alphas: cannot change at step 1"),
        (["method.alphas={restricted: {}}"], 2, r"method.alphas: cannot change at step 2"),
        ([], 3, "there is no analysis of step 3"),
        (["localization.length.x=9"], 0, "length"),
        (["method.inversion=subspace_rescald"], 0, "method.inversion"),
    ],
)
def test_that_what_cannot_be_done_at_a_step_is_told(parent, overrides, step, message):
    with pytest.raises(ConfigError, match=message):
        branch(parent.folder, *overrides, step=step)


def test_that_a_schedule_may_go_on_otherwise_from_the_alphas_that_were_taken(parent):
    run = branch(parent.folder, "method.alphas=[3, 2, 6]", step=1)
    alphas = [
        fact["figures"]["alpha"]
        for fact in read_journal(run.folder / "journal.jsonl")
        if fact["fact"] == "ended" and fact["phase"] == "prepare"
    ]
    assert alphas == [2.0]


def test_that_the_rest_of_a_schedule_may_be_found_on_the_way(parent):
    run = branch(parent.folder, "method.alphas=discrepancy", "method.steps=20", step=1)
    assert run.resume().kind == "finished"
    facts = read_journal(run.folder / "journal.jsonl")
    found = [f["figures"]["alpha"] for f in facts if f["fact"] == "ended" and f["phase"] == "prepare"]
    # A third was taken before.
    assert sum(1 / alpha for alpha in found) == pytest.approx(2 / 3, rel=1e-5)


def test_that_there_has_to_be_a_forecast_and_its_latest_is_the_default(parent, copied):
    assert {wish.step for wish in wishes_of(open_folder(parent.folder), ())} == {2}
    with pytest.raises(DataError, match="no complete forecast of step 4"):
        branch(parent.folder, step=4)
    journal = copied / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    closed = next(i for i, line in enumerate(lines) if '"closed","phase":"forecast","step":1' in line)
    journal.write_text("".join(lines[: closed + 1]))
    with pytest.raises(DataError, match=r"is complete: 0, 1\n"):
        branch(copied, step=2)
    # The run itself has not come to this analysis yet: its branch does not need it to.
    assert_same_bits(parameters(branch(copied), 2), parameters(parent, 2))
    journal.write_text("")
    with pytest.raises(DataError, match="no complete forecast"):
        branch(copied)


def test_that_an_analysis_that_was_ended_in_its_middle_goes_on_with_the_same_bits(
    parent, copied, monkeypatch, done
):
    whole = branch(parent.folder, "localization.lengths.x=7", step=1)
    last = [task for task in done if task.phase is Phase.UPDATE][-1]
    monkeypatch.setattr(launch, "_pool", pool_of([], lambda task: task == last))
    with pytest.raises(KeyboardInterrupt):
        branch(copied, "localization.lengths.x=7", step=1)
    (half,) = daflow.open_run(copied).branches().values()
    assert half.status().state == "interrupted"
    done.clear()
    monkeypatch.setattr(launch, "_pool", pool_of(done))
    again = branch(copied, "localization.lengths.x=7", step=1)
    assert done == [last]
    assert_same_bits(parameters(again, 2), parameters(whole, 2))
    done.clear()
    branch(copied, "localization.lengths.x=7", step=1)
    assert done == []


def test_that_a_run_moves_with_its_branches_and_a_branch_alone_does_not(copied, tmp_path):
    made = branch(copied, "localization.lengths.x=7", step=0)
    expected = parameters(made, 1)
    moved = copied.rename(tmp_path / "elsewhere")
    (run,) = daflow.open_run(moved).branches().values()
    assert_same_bits(parameters(run, 1), expected)
    assert run.resume().kind == "finished"
    alone = run.folder.rename(tmp_path / "alone")
    with pytest.raises(DataError, match="is a branch of cannot be opened"):
        daflow.open_run(alone)


def test_that_the_stages_of_a_branch_have_keys_of_their_own_unless_a_run_would_do_the_same(
    ring, parent, tmp_path
):
    changed = make_run(load_workflow(ring, ["localization.lengths.x=9"]), tmp_path / "whole", "")
    whole, theirs = plan_for(changed).keys, plan_for(open_folder(parent.folder)).keys
    first, later = (
        plan_for(
            open_folder(branch(parent.folder, "localization.lengths.x=9", step=step, name=f"k{step}").folder)
        )
        for step in (0, 1)
    )
    assert first.keys == whole
    assert later.keys.keys() == whole.keys()
    own = {key for stage, key in later.keys.items() if stage in later.stages}
    assert not own & {*whole.values(), *theirs.values()}
    # What lies before it is the parent's, but places are kept by a key of the branch's own localization.
    assert later.keys[Phase.PREPARE, 0] == whole[Phase.PREPARE, 0] != theirs[Phase.PREPARE, 0]


def test_that_a_branch_may_survey_where_its_parent_did_not_and_the_other_way_round(parent, done):
    surveyed = branch(parent.folder, "localization={kind: sampling_error, family: nice}", step=1, name="nice")
    assert {task.phase for task in done} == {Phase.PREPARE, Phase.SURVEY, Phase.CONCLUDE, Phase.UPDATE}
    assert surveyed.resume().kind == "finished"
    plain = branch(surveyed.folder, "localization={kind: none}", step=2)
    assert [stage.phase for stage in plain.status().stages] == ["prepare", "update", "forecast"]
    direct = branch(surveyed.folder, step=2, name="direct")
    assert_same_bits(parameters(direct, 3), parameters(surveyed, 3))
    assert not np.array_equal(parameters(plain, 3)["start"], parameters(direct, 3)["start"])


@pytest.mark.parametrize("step", [0, 1])
def test_that_a_branch_may_have_branches(parent, step):
    first = branch(parent.folder, "localization.lengths.x=6", step=1, name=f"first-{step}")
    assert first.resume().kind == "finished"
    second = branch(first.folder, "method.inversion=exact_woodbury", step=step, name="second")
    assert second.workflow.localization.lengths == {"x": 6.0}
    assert second.folder.parent.parent == first.folder
    assert_same_bits(parameters(second, step), parameters(first, step))
    direct = branch(
        parent.folder,
        "localization.lengths.x=6",
        "method.inversion=exact_woodbury",
        step=step,
        name=f"d-{step}",
    )
    assert_same_bits(parameters(second, step + 1), parameters(direct, step + 1))
    assert second.resume().kind == direct.resume().kind == "finished"
    assert_same_bits(finals(second), finals(direct))


def test_that_a_branch_is_asked_for_once_and_its_name_is_its_settings(parent):
    run = open_folder(parent.folder)
    one = branch(parent.folder, "localization.lengths.x=5", step=0, name="mine")
    assert branch(parent.folder, "localization.lengths.x=5", step=0, name="mine").folder == one.folder
    for overrides, step in ((["localization.lengths.x=6"], 0), (["localization.lengths.x=5"], 1)):
        with pytest.raises(ConfigError, match="branch mine already"):
            make_branches(run, wishes_of(run, overrides, step=step, name="mine"))
    # How tasks run does not change what they compute.
    make_branches(
        run, wishes_of(run, ["localization.lengths.x=5", "execution.workers=3"], step=0, name="mine")
    )


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "two words", "-x"])
def test_that_a_name_is_that_of_a_folder(parent, name):
    with pytest.raises(DataError, match="no branch can be called so"):
        wishes_of(open_folder(parent.folder), (), name=name)


def test_that_a_sweep_asks_for_each_value_and_each_combination(parent):
    run = open_folder(parent.folder)
    wishes = wishes_of(
        run,
        ["method.truncation=0.9"],
        ["localization.lengths.x=4,8.5", "method.inversion=subspace,rescaled"],
        step=1,
    )
    assert [wish.name for wish in wishes] == [
        f"step=1,truncation=0.9,lengths.x={x},inversion={inversion}"
        for x in ("4", "8.5")
        for inversion in ("subspace", "rescaled")
    ]
    assert wishes[1].overrides == (
        "method.truncation=0.9",
        "localization.lengths.x=4",
        'method.inversion="rescaled"',
    )
    named = wishes_of(run, (), ["localization={kind: none},{kind: distance, lengths: {x: 4}}"], name="try")
    assert [wish.name for wish in named] == [
        "try,localization=none",
        "try,localization=distance-lengths-x-4",
    ]
    long = wishes_of(run, [f"parameters.start.transform={'x' * 300}"])[0].name
    other = wishes_of(run, [f"parameters.start.transform={'x' * 301}"])[0].name
    assert len(long) == len(other) == 100
    assert long != other


@pytest.mark.parametrize("sweep", ["localization.lengths.x", "=4,8", "localization.lengths.x="])
def test_that_a_sweep_has_a_key_and_values(parent, sweep):
    with pytest.raises(ConfigError, match="not a setting with values"):
        wishes_of(open_folder(parent.folder), (), [sweep])


def test_that_a_sweep_is_not_too_large_and_names_each_value_once(parent):
    values = ",".join(map(str, range(1, MOST_BRANCHES + 1)))
    run = open_folder(parent.folder)
    assert len(wishes_of(run, (), [f"localization.lengths.x={values}"])) == MOST_BRANCHES
    with pytest.raises(ConfigError, match=rf"{MOST_BRANCHES} x 2 = {2 * MOST_BRANCHES}"):
        wishes_of(run, (), [f"localization.lengths.x={values}", "method.inversion=naive,rescaled"])
    with pytest.raises(ConfigError, match="given twice"):
        wishes_of(run, (), ["localization.lengths.x=4,5,4"])


def test_that_branches_are_told_in_the_order_of_their_numbers(copied):
    run = open_folder(copied)
    make_branches(run, wishes_of(run, (), ["localization.lengths.x=10,9.5,30,9"], name="x"))
    named = [name.rpartition("=")[2] for name in daflow.open_run(copied).branches()]
    assert named == ["9", "9.5", "10", "30"]


def test_that_none_of_a_sweep_is_made_if_one_cannot_be(copied):
    run = open_folder(copied)
    with pytest.raises(ConfigError):
        make_branches(run, wishes_of(run, (), ["localization.lengths.x=4,-1"]))
    assert not (copied / "branches").exists()


def test_that_only_a_branch_has_an_analysis_of_its_own(parent):
    with pytest.raises(DataError, match="no branch"):
        analyse(open_folder(parent.folder))


def measured(folder, *overrides):
    workflow = written(folder, FILE, WELL)
    (folder / "observations.csv").write_text(TABLE)
    return workflow, run_inline(workflow, folder / "run", *overrides)


def test_that_the_errors_of_measured_observations_may_be_taken_otherwise(tmp_path):
    workflow, run = measured(tmp_path)
    matrix = 0.25 * np.exp(-np.abs(np.subtract.outer(range(3), range(3))))
    np.savez(tmp_path / "r.npz", covariance=matrix)
    error = f"observations.error={{kind: dense, file: {tmp_path / 'r.npz'}}}"
    before = files_in(run.folder)
    made = branch(run.folder, error, step=0)
    assert made.resume().kind == "finished"
    assert files_in(run.folder) == before
    assert_same_bits(finals(made), finals(run_inline(workflow, tmp_path / "whole", error)))
    assert not np.array_equal(parameters(made, 1)["level"], parameters(run, 1)["level"])
    np.testing.assert_allclose(made.observations()["error_std"], 0.5)
    (tmp_path / "observations.csv").write_text(TABLE.replace("1.1", "1.2"))
    with pytest.raises(DataError, match="are not what the run observed"):
        branch(run.folder, error, step=0, name="later")
    # What does not read them again does not mind.
    (tmp_path / "observations.csv").unlink()
    assert branch(run.folder, "method.inversion=rescaled", step=0).resume().kind == "finished"


def test_that_arrays_of_a_run_kept_elsewhere_have_those_of_its_branches_beside_them(tmp_path):
    workflow = written(tmp_path / "given", CALLABLE, WELL)
    run = run_inline(workflow, tmp_path / "run", f"storage.path={tmp_path / 'disk' / 'arrays'}")
    before = files_in(tmp_path / "disk")
    made = branch(run.folder, "method.inversion=exact_woodbury", step=0, name="other")
    assert (tmp_path / "disk" / "arrays.branches" / "other" / "step=1").is_dir()
    assert {path: mark for path, mark in files_in(tmp_path / "disk").items() if path in before} == before
    assert made.resume().kind == "finished"
    assert_same_bits(parameters(made, 0), parameters(run, 0))


def test_that_members_that_had_failed_stay_away(tmp_path):
    fails = WELL.replace(
        "parameters, observations):", "parameters, observations, member):\n    member != 3 or 1 / 0"
    )
    workflow = written(tmp_path / "given", CALLABLE, fails)
    run = run_inline(workflow, tmp_path / "run")
    made = branch(run.folder, step=1)
    assert_same_bits(parameters(made, 2), parameters(run, 2))
    assert made.parameters(2)["member"].size == 11
    assert made.resume().kind == "finished"
    assert_same_bits(finals(made), finals(run))


def test_that_a_filter_may_be_another_one_from_any_cycle_on(tmp_path):
    workflow = written(tmp_path / "given", FILTER)
    run = run_inline(workflow, tmp_path / "run")
    before = files_in(run.folder)
    same = branch(run.folder, step=2)
    assert same.forecast(2).equals(run.forecast(2))
    assert same.resume().kind == "finished"
    for step in range(5):
        assert same.state(step).equals(run.state(step))
    changed = ("method.kind=enkf", "inflation={kind: multiplicative, factor: 1.1}")
    other = branch(run.folder, *changed, step=2)
    assert other.folder.name == "step=2,kind=enkf,inflation=multiplicative-factor-1.1"
    assert other.state(2).equals(run.state(2))
    assert not other.state(3).equals(run.state(3))
    assert branch(run.folder, "method.kind=denkf").status().state == "finished"
    first = branch(run.folder, *changed, step=0)
    assert first.resume().kind == "finished"
    whole = run_inline(workflow, tmp_path / "whole", "method={kind: enkf}", changed[1])
    assert first.state(4)["wave"].values.tobytes() == whole.state(4)["wave"].values.tobytes()
    assert files_in(run.folder) == before
