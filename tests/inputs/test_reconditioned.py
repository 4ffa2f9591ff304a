import json
from pathlib import Path

import numpy as np
import pytest

from daflow.config.observations import FileObservations
from daflow.errors import CombinationError, DataError
from daflow.inputs import covariance_of, read_observations
from daflow.inputs.reconditioned import variances_of

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "ufo_cases.json").read_text())
WAYS = {"ridge": "ridge", "mineig": "minimum"}
NEGATIVE = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.9], [0.1, 0.9, 1.0]])
"""Its smallest eigenvalue is -0.22."""


def read(folder, error, n_obs, **arrays):
    """Return observations of 0 whose errors are in arrays of a file."""
    np.savez(folder / "r.npz", **arrays)
    columns = "value,name\n" + "".join(f"0,o{i}\n" for i in range(n_obs))
    (folder / "o.csv").write_text(columns)
    settings = {"path": folder / "o.csv", "error": {"file": str(folder / "r.npz"), **error}}
    return read_observations(FileObservations.model_validate(settings))


def dense(folder, matrix, way, number, on="covariance"):
    recondition = {"way": way, "number": number, "on": on}
    return read(folder, {"kind": "dense", "recondition": recondition}, len(matrix), covariance=matrix)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["key"])
def test_that_the_golden_covariances_are_what_the_update_gets_or_refused(tmp_path, case):
    with np.load(GOLDEN / "ufo.npz") as arrays:
        matrix, expected = arrays[f"R_{case['matrix']}"], arrays[f"out_{case['key']}"]
    ((option, number),) = case["options"].items()
    way, given = f"{WAYS[case['method']]}_{option}", float(np.float32(number))
    singular = case["matrix"] in {"zero2", "diag_zero", "neg3"}
    if option == "fraction" and (singular or case["info"]["skipped"]):
        with pytest.raises(CombinationError, match=r"r.npz(.|\n)*observations\.error\.recondition"):
            dense(tmp_path, matrix, way, number)
        return
    found = dense(tmp_path, matrix, way, min(given, number))
    assert np.abs(covariance_of(found).dense() - expected).max() <= 1e-7 * np.abs(expected).max()
    np.testing.assert_allclose(found.table["error_std"], np.sqrt(np.diag(expected)), rtol=1e-6)
    assert f"{case['info']['cond_after']:.4g}" in found.notes[0]


def test_that_a_matrix_that_is_not_positive_definite_is_refused_with_the_key_that_mends_it(tmp_path):
    with pytest.raises(DataError, match=r"smallest eigenvalue -0\.22") as raised:
        read(tmp_path, {"kind": "dense"}, 3, covariance=NEGATIVE)
    offered = "observations.error.recondition: {way: minimum_threshold, number: 0.01}"
    assert offered in str(raised.value)
    mended = dense(tmp_path, NEGATIVE, "minimum_threshold", 0.01)
    assert np.linalg.eigvalsh(covariance_of(mended).dense())[0] == pytest.approx(0.01)
    assert "eigenvalues from -0.2238 to 2.324 became 0.01 to" in mended.notes[0]
    assert "condition number inf became" in mended.notes[0]


@pytest.mark.parametrize("on", ["covariance", "correlation"])
def test_that_a_fraction_is_refused_where_there_is_no_condition_number(tmp_path, on):
    with pytest.raises(CombinationError, match="not positive definite") as raised:
        dense(tmp_path, NEGATIVE, "ridge_fraction", 0.5, on)
    assert "give a shift or a threshold" in str(raised.value)


def test_that_a_matrix_that_is_not_symmetric_is_not_offered_reconditioning(tmp_path):
    with pytest.raises(DataError, match="symmetric") as raised:
        read(tmp_path, {"kind": "dense"}, 2, covariance=np.array([[1.0, 0.5], [0.2, 1.0]]))
    assert "recondition" not in str(raised.value)


def test_that_each_block_is_reconditioned_by_itself_and_the_worst_is_told(tmp_path):
    blocks = {"a": np.diag([1.0, 1e4]), "b": np.diag([1.0, 100.0, 10.0])}
    error = {"kind": "block", "arrays": ["a", "b"], "recondition": {"way": "minimum_fraction", "number": 0.1}}
    found = read(tmp_path, error, 5, **blocks)
    np.testing.assert_allclose(covariance_of(found).diagonal(), [10, 1e4, 10, 100, 10], rtol=1e-12)
    np.testing.assert_allclose(variances_of(found.error), found.table["error_std"] ** 2)
    assert "2 blocks, of the worst the eigenvalues from 1 to 1e+04 became 10 to 1e+04" in found.notes[0]


def test_that_units_do_not_matter_to_a_correlation(tmp_path):
    scale = np.array([1.0, 1e3, 1e-2])
    plain = dense(tmp_path, NEGATIVE, "ridge_shift", 0.1, "correlation")
    other = dense(tmp_path, NEGATIVE * np.outer(scale, scale), "ridge_shift", 0.1, "correlation")
    assert plain.notes == other.notes
    np.testing.assert_allclose(other.table["error_std"], scale * plain.table["error_std"], rtol=1e-9)


def test_that_a_column_of_standard_deviations_is_that_of_the_covariance_in_the_file(tmp_path):
    np.save(tmp_path / "r.npy", np.diag([1.0, 4.0]))
    recondition = {"way": "ridge_shift", "number": 5.0}
    error = {"kind": "dense", "file": str(tmp_path / "r.npy"), "recondition": recondition}
    settings = FileObservations.model_validate({"path": tmp_path / "o.csv", "error": error})
    (tmp_path / "o.csv").write_text("value,error_std\n0,1\n0,2\n")
    np.testing.assert_allclose(read_observations(settings).table["error_std"], [6**0.5, 3])
    (tmp_path / "o.csv").write_text("value,error_std\n0,1\n0,3\n")
    with pytest.raises(DataError, match="disagrees"):
        read_observations(settings)


def test_that_nothing_is_told_where_nothing_is_done(tmp_path):
    assert read(tmp_path, {"kind": "dense"}, 2, covariance=np.eye(2)).notes == ()
