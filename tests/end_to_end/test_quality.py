"""Runs that leave observations out, or believe them less: what is stored, told and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from daflow.assemble.folder import make_run, open_folder, with_overrides
from daflow.assemble.looking_ahead.preview import preview
from daflow.config.load import load_workflow
from daflow.errors import ConfigError, DataError
from tests.end_to_end.small_run import CALLABLE, finals, run_inline, written

HOLES = """
def forecast(parameters, observations):
    level = parameters["level"]
    predicted = level[:3] ** 2 + level[4:7]
    if level[0] > 1.0:
        predicted[1] = np.nan
    if level[1] > 1.0:
        predicted[:2] = np.nan
    return predicted
"""
"""Some members do not predict the second observation, and some not the first two."""

FROM_FILE = CALLABLE.replace(
    "{kind: twin, error: {default: {absolute: 0.3}}}",
    "{kind: file, path: o.csv, error: {kind: dense, file: r.npy}}",
)
TABLE = "name,kind,time,value,error_std\na,k,0,1.0,0.6\nb,k,1,1.5,0.6\nc,k,2,60.0,0.6\n"
WELL = """
def forecast(parameters, observations):
    return parameters["level"][: len(observations["name"])] ** 2
"""


def written_with_file(folder, text, table=TABLE):
    path = written(folder, text, WELL)
    (folder / "o.csv").write_text(table)
    np.save(folder / "r.npy", np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.9], [0.1, 0.9, 1.0]]) * 0.36)
    return path


def missing(run, step):
    return np.isnan(run.predicted(step).values).any(axis=0)


def test_that_missing_predictions_are_stored_and_their_observations_left_out_and_told(tmp_path):
    # The truth of this seed predicts all three.
    workflow = written(tmp_path, CALLABLE, HOLES)
    run = run_inline(workflow, tmp_path / "run", "policy.missing_predictions=drop_observations", seed=4)
    assert missing(run, 0).tolist() == [True, True, False]
    flags = run.flags(0)
    assert flags.values.tolist() == ["missing", "missing", "used"]
    assert flags["name"].values.tolist() == ["a", "b", "c"]
    assert np.isinf(flags["error_factor"]).values.tolist() == [True, True, False]
    assert run.flags().attrs["step"] == 1
    assert run.status().state == "finished"
    assert np.isfinite(run.parameters().level).all()
    page = run.report().read_text()
    assert "Step 0: 1 of 3 observations used; flagged: 2 missing." in page
    diagnosed = run.desroziers()
    assert diagnosed["n_obs"].values.tolist() == [1]
    assert np.isfinite(diagnosed["ratio"]).all()
    with pytest.raises(ConfigError, match=r"policy\.missing_predictions"):
        with_overrides(open_folder(tmp_path / "run"), ["policy.missing_predictions=invalid"])


def test_that_members_that_miss_more_than_a_share_are_given_up_at_once_and_the_others_used(tmp_path):
    workflow = written(tmp_path, CALLABLE, HOLES)
    run = run_inline(workflow, tmp_path / "run", "policy.missing_predictions={share: 0.4}")
    failures = [end for end in run.status().failures if end.step == 0]
    levels = run.parameters(0).level
    assert {end.member for end in failures} == set(levels.member.values[(levels[:, 1] > 1).values].tolist())
    assert {(end.status, end.attempt) for end in failures} == {("failed", 0)}
    assert missing(run, 0).tolist() == [False, True, False]
    assert run.flags(0).values.tolist() == ["used", "missing", "used"]


def test_that_a_matrix_that_cannot_be_inverted_is_refused_by_check_which_offers_what_mends_it(tmp_path):
    workflow = written_with_file(tmp_path, FROM_FILE)
    with pytest.raises(DataError, match="smallest eigenvalue") as raised:
        preview(load_workflow(workflow))
    way = str(raised.value).split("set ")[1].split(": smaller")[0]
    key, value = way.split(": ", 1)
    assert key == "observations.error.recondition"
    seen = preview(load_workflow(workflow, [f"{key}={value}"]))
    assert "condition number inf became" in seen.notes[0]
    assert json.dumps(seen.to_json()["notes"])
    checked = ["observations.background_check={threshold: 4}", f"{key}={value}"]
    run = run_inline(workflow, tmp_path / "run", *checked)
    assert run.flags().values.tolist() == ["used", "used", "background"]
    page = run.report().read_text()
    assert "condition number inf became" in page
    assert "flagged: 1 background." in page
    short = FROM_FILE.replace("dense, file: r.npy", "diagonal")
    alone = written_with_file(tmp_path / "alone", short, TABLE.rsplit("c,k", 1)[0])
    plain = run_inline(alone, tmp_path / "alone-run")
    both = run_inline(written_with_file(tmp_path / "both", short), tmp_path / "both-run", checked[0])
    for name, array in finals(plain).items():
        if name != "predicted":
            assert array.tobytes() == finals(both)[name].tobytes()


def test_that_what_is_thinned_is_not_asked_of_the_model(tmp_path):
    short = FROM_FILE.replace("dense, file: r.npy", "diagonal")
    workflow = written_with_file(tmp_path, short)
    made = make_run(
        load_workflow(workflow, ["observations.thinning={box: {time: 1.5}}"]), tmp_path / "run", short
    )
    assert made.n_obs == 2
    run = run_inline(workflow, tmp_path / "run", "observations.thinning={box: {time: 1.5}}")
    assert run.predicted().sizes["obs"] == 2
    assert run._store.read_observations().numbers.tolist() == [0, 2]
    assert "of 3 observations 2 were kept" in run.report().read_text()
