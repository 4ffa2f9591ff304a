from __future__ import annotations

import importlib

import numpy as np
import pytest
import resfo
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from daflow.config.external_models import OutputSettings
from daflow.errors import ConfigError, ModelFailed, OutputInvalid
from daflow.models.readers import prepare_reader
from daflow.models.row_matching import match_rows

OBSERVATIONS = {
    "name": np.array(["P1", "P2", "P1"]),
    "kind": np.array(["WOPR", "WOPR", "WBHP"]),
    "time": np.array([30.0, 60.0, 60.0]),
}


@pytest.fixture
def read(tmp_path):
    """Return what reads the member's directory as settings say."""

    def run(observations=OBSERVATIONS, **settings):
        reader = prepare_reader(TypeAdapter(OutputSettings).validate_python(settings), tmp_path)
        return reader(tmp_path, tmp_path, observations).tolist()

    return run


CSV = "well, day, oil\nP2, 60, 3\nP1, 30.0000001, 1\nP1, 60, 2\nP9, 60,\n"
KEYS = {"kind": "csv", "file": "o.csv", "column": "oil", "keys": {"well": "name", "day": "time"}}


def test_that_csv_rows_are_matched_by_their_keys(read, tmp_path):
    (tmp_path / "o.csv").write_text(CSV)
    assert read(**KEYS) == [1.0, 3.0, 2.0]


def test_that_csv_rows_without_keys_stand_in_order(read, tmp_path):
    (tmp_path / "o.csv").write_text("oil\n3\n1\n2\n")
    assert read(kind="csv", file="o.csv", column="oil") == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as CSV"),
        ("well,day,water\n", "no column 'oil'"),
        ("well,day,oil\n", "no row for 3 of 3"),
        (
            CSV.replace("P1, 60", "P1, 61"),
            r"no row for 1 of 3 observations, first for row 2 \(P1 WBHP at 60.0\)",
        ),
        (CSV + "P1, 60, 2\n", "two rows for 1 of 3"),
        (CSV[: CSV.index(" 2\nP9")], r"o.csv, column 'oil': 1 of 3 predictions are not finite"),
        (CSV.replace(" 3\n", " x\n"), "not real numbers"),
    ],
)
def test_that_a_csv_file_that_cannot_be_used_is_invalid(read, tmp_path, text, message):
    (tmp_path / "o.csv").write_text(text)
    with pytest.raises(OutputInvalid, match=message):
        read(**KEYS)


def test_that_a_key_that_observations_lack_is_named(read, tmp_path):
    (tmp_path / "o.csv").write_text(CSV)
    with pytest.raises(ConfigError, match="no column 'when'"):
        read(**KEYS | {"keys": {"day": "when"}})


@given(order=st.permutations(range(6)), extra=st.integers(0, 4))
def test_that_neither_the_order_of_rows_nor_rows_unasked_for_matter(order, extra):
    days, wells = np.tile([1.0, 2.0, 3.0], 2), np.repeat(["a", "b"], 3)
    asked = {"time": days[:5], "name": wells[:5]}
    keep = np.array([*order, *[6] * extra], dtype=int)
    days, wells = np.append(days, np.nan)[keep], np.append(wells, "c")[keep]
    rows = match_rows({"t": days, "w": wells}, asked, {"t": "time", "w": "name"}, 0.1, "here")
    assert np.array_equal(days[rows], asked["time"])
    assert np.array_equal(wells[rows], asked["name"])


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
def test_that_a_variable_of_a_netcdf_file_or_zarr_group_is_read(read, tmp_path, kind):
    data = xr.Dataset({"oil": ("row", [1.0, 2.0, 3.0])})
    if kind == "netcdf":
        data.to_netcdf(tmp_path / "o", engine="h5netcdf")
    else:
        data.to_zarr(tmp_path / "o", zarr_format=3, consolidated=False)
    if kind == "netcdf":
        assert read(kind=kind, file="o", variable="oil") == [1.0, 2.0, 3.0]
        with pytest.raises(OutputInvalid, match="no variable 'gas'"):
            read(kind=kind, file="o", variable="gas")
        (tmp_path / "o").write_bytes((tmp_path / "o").read_bytes()[:50])
        with pytest.raises(OutputInvalid, match="cannot be read as netcdf"):
            read(kind=kind, file="o", variable="oil")
    else:
        assert read(kind=kind, file="o", variable="oil") == [1.0, 2.0, 3.0]


def test_that_a_function_of_the_users_reads(read, tmp_path):
    (tmp_path / "my_reader.py").write_text(
        "def read(work_dir, observations): return [float(x) for x in (work_dir / 'o').read_text().split()]\n"
        "def fewer(work_dir): return 1\n"
    )
    (tmp_path / "o").write_text("1 2 3")
    assert read(kind="function", function="my_reader:read") == [1.0, 2.0, 3.0]
    (tmp_path / "o").write_text("1 x")
    with pytest.raises(ModelFailed, match="could not convert string"):
        read(kind="function", function="my_reader:read")
    with pytest.raises(ConfigError, match="cannot be called"):
        read(kind="function", function="my_reader:fewer")


VECTORS = [("TIME", ":+:+:+:+"), ("WOPR", "P1"), ("WOPR", "P2"), ("WBHP", "P1"), ("FOPT", ":+:+:+:+")]


def write_summary(folder, steps, vectors=VECTORS):
    """Write a summary; each report step is a list of ministeps, each the values of the vectors."""
    head = [
        ("KEYWORDS", [f"{keyword:8}".encode() for keyword, _ in vectors]),
        ("WGNAMES ", [f"{name:8}".encode() for _, name in vectors]),
        ("NUMS    ", np.zeros(len(vectors), dtype=np.int32)),
    ]
    resfo.write(folder / "CASE.SMSPEC", head)
    body, ministep = [], 0
    for number, ministeps in enumerate(steps):
        body.append(("SEQHDR  ", np.array([number], dtype=np.int32)))
        for values in ministeps:
            body.append(("MINISTEP", np.array([ministep], dtype=np.int32)))
            body.append(("PARAMS  ", np.array(values, dtype=np.float32)))
            ministep += 1
    resfo.write(folder / "CASE.UNSMRY", body)


STEPS = [
    [[10, -1, -1, -1, -1], [30, 1, 2, 300, 7]],
    [[45, -2, -2, -2, -2], [60, 1.5, 2.5, 310, 8]],
]
SUMMARY = {"kind": "eclipse_summary", "case": "CASE"}


def test_that_a_summary_is_read_at_report_steps_by_vector_well_and_time(read, tmp_path):
    write_summary(tmp_path, STEPS)
    assert read(**SUMMARY) == [1.0, 2.5, 310.0]
    field = {"kind": np.array(["FOPT"]), "time": np.array([60.0]), "name": np.array([""])}
    assert read(field, **SUMMARY) == [8.0]
    renamed = {"vector": OBSERVATIONS["kind"], "well": OBSERVATIONS["name"], "days": OBSERVATIONS["time"]}
    assert read(renamed, **SUMMARY, vector="vector", well="well", time="days") == [1.0, 2.5, 310.0]


def test_that_a_ministep_is_no_report_step(read, tmp_path):
    write_summary(tmp_path, STEPS)
    with pytest.raises(
        OutputInvalid, match=r"no report step at 45, asked for first by row 0 \(P1 WOPR at 45"
    ):
        read(OBSERVATIONS | {"time": np.array([45.0, 60.0, 60.0])}, **SUMMARY)


def test_that_a_simulation_that_stopped_early_is_invalid(read, tmp_path):
    write_summary(tmp_path, STEPS[:1])
    with pytest.raises(OutputInvalid, match=r"no report step at 60(.|\n)*1 report steps, at 30"):
        read(**SUMMARY)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (OBSERVATIONS | {"name": np.array(["P1", "P3", "P1"])}, r"no vector WOPR P3(.|\n)*WOPR of P1, P2"),
        (
            OBSERVATIONS | {"kind": np.array(["WOPR", "WGOR", "WBHP"])},
            r"no vector WGOR P2(.|\n)*FOPT, TIME, WBHP",
        ),
        (OBSERVATIONS | {"name": np.array(["", "P2", "P1"])}, "2 vectors WOPR"),
        (OBSERVATIONS | {"number": np.array([np.nan, 4.0, np.nan])}, "no vector WOPR P2 4"),
    ],
)
def test_that_a_vector_that_is_not_there_or_not_one_is_invalid(read, tmp_path, observations, message):
    write_summary(tmp_path, STEPS)
    with pytest.raises(OutputInvalid, match=message):
        read(observations, **SUMMARY)


def test_that_a_column_that_the_matching_needs_is_named(read, tmp_path):
    with pytest.raises(ConfigError, match=r"no column 'times'(.|\n)*did you mean 'time'"):
        read(**SUMMARY, time="times")


@pytest.mark.parametrize("name", ["CASE.SMSPEC", "CASE.UNSMRY"])
def test_that_a_summary_that_is_missing_or_cut_short_is_invalid(read, tmp_path, name):
    write_summary(tmp_path, STEPS)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-7])
    with pytest.raises(OutputInvalid, match=f"{name}: cannot be read"):
        read(**SUMMARY)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(OutputInvalid, match=f"{name}: (no KEYWORDS|holds no report step)"):
        read(**SUMMARY)
    (tmp_path / name).unlink()
    with pytest.raises(OutputInvalid, match=f"{name}: the command did not write it"):
        read(**SUMMARY)


def test_that_files_of_two_simulations_are_not_mixed(read, tmp_path):
    write_summary(tmp_path, [[[1, 2]]], VECTORS[:2])
    kept = (tmp_path / "CASE.UNSMRY").read_bytes()
    write_summary(tmp_path, STEPS)
    (tmp_path / "CASE.UNSMRY").write_bytes(kept)
    with pytest.raises(OutputInvalid, match="wrong length"):
        read(**SUMMARY)


def test_that_the_package_that_reads_summaries_is_asked_for_at_construction(read, monkeypatch):
    real = importlib.import_module

    def without(name, package=None):
        if name == "resfo":
            raise ModuleNotFoundError(name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ConfigError, match=r"daflow\[eclipse\]"):
        read(**SUMMARY)
