from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from daflow.config.external_models import ArrayFile, ArraySource, CopiedFile, NetcdfFile, TemplateFile
from daflow.errors import ConfigError, DataError, ModelFailed
from daflow.models.array_files import write_array
from daflow.models.input_files import prepare_input_file
from daflow.models.templates import load_template
from daflow.ports import MemberInput


def member(tmp_path, **parameters):
    return MemberInput(3, 1, parameters, {}, 77, tmp_path, tmp_path)


@pytest.fixture
def template(tmp_path):
    def make(text):
        (tmp_path / "deck.txt").write_text(text)
        return load_template(tmp_path / "deck.txt")

    return make


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_that_a_float_is_written_with_all_its_digits(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("t") / "t.txt"
    path.write_text("{{ value }}")
    assert float(load_template(path).render({"value": value})) == value


def test_that_line_ends_and_quotes_stay_as_they_are(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"'W1' {{ rate }} <&>\r\n/\r\n")
    entry = prepare_input_file(TemplateFile(source=tmp_path / "t.txt"))
    entry.write(tmp_path / "out", member(tmp_path, rate=np.array([2.0])))
    assert (tmp_path / "out").read_bytes() == b"'W1' 2.0 <&>\r\n/\r\n"


def test_that_a_name_without_a_value_is_an_error_with_file_and_line(template):
    with pytest.raises(
        ConfigError, match=r"deck.txt, line 2: no variable 'rtae'(.|\n)*did you mean \{\{ rate"
    ):
        template("{{ rate }}\n{{ rtae }}\n").render({"rate": 1.0})


@pytest.mark.parametrize("text", ["{{ 1 +", "\n{% if %}", "{% nothing %}"])
def test_that_a_template_that_is_none_is_refused_with_its_line(template, text):
    with pytest.raises(ConfigError, match=r"deck.txt, line \d: "):
        template(text)


def test_that_a_template_cannot_include_another(template):
    with pytest.raises(ConfigError, match="cannot include"):
        template("{% include 'other' %}")


@pytest.mark.parametrize("text", ["\n{{ 1 / rate }}", "\n{{ rate.__class__.__mro__ }}", "\n{{ rate.no }}"])
def test_that_an_expression_that_cannot_be_evaluated_names_its_line(template, text):
    with pytest.raises(ModelFailed, match=r"deck.txt, line 2: "):
        template(text).render({"rate": 0.0})


def test_that_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        load_template(tmp_path / "t")


def test_that_a_template_takes_scalars_only_and_says_what_it_needs(tmp_path):
    (tmp_path / "t").write_text("{{ k }} {{ member }}")
    entry = prepare_input_file(TemplateFile(source=tmp_path / "t"))
    assert entry.variables == {"k"}
    with pytest.raises(ConfigError, match="'k' is not one number"):
        entry.write(tmp_path / "out", member(tmp_path, k=np.zeros(2)))


TEXT_READERS = {
    "npy": np.load,
    "csv": lambda path: np.loadtxt(path, delimiter=",", ndmin=1),
    "text": lambda path: np.loadtxt(path, ndmin=1),
    "eclipse_include": lambda path: np.array(path.read_text().split()[1:-1], dtype=float),
}


@settings(max_examples=25)
@given(
    values=arrays(np.float64, array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e6, 1e6)),
    form=st.sampled_from(sorted(TEXT_READERS)),
    dtype=st.sampled_from(["float32", "float64"]),
    order=st.sampled_from(["C", "F"]),
)
def test_that_a_file_read_back_holds_the_values_to_the_last_bit(tmp_path_factory, values, form, dtype, order):
    path = tmp_path_factory.mktemp("a") / "a"
    keyword = "PORO" if form == "eclipse_include" else None
    entry = ArrayFile(
        variable="v", target="a", format=form, keyword=keyword, dtype=dtype, order=order, scale=0.5
    )
    write_array(path, values, entry)
    expected = (values * 0.5).astype(dtype).ravel(order=order)
    assert np.array_equal(TEXT_READERS[form](path).astype(dtype).ravel(), expected)


def test_that_an_eclipse_include_is_keyword_values_and_slash(tmp_path):
    np.savez(tmp_path / "a.npz", active=np.array([[True, False], [True, True]]))
    settings_ = ArrayFile(
        source=ArraySource(file=tmp_path / "a.npz", array="active"),
        target="A.INC", format="eclipse_include", keyword="ACTNUM", dtype="int32", per_line=3,
    )  # fmt: skip
    entry = prepare_input_file(settings_)
    assert entry.variables == frozenset()
    entry.write(tmp_path / "A.INC", member(tmp_path))
    assert (tmp_path / "A.INC").read_text() == "ACTNUM\n1 0 1\n1\n/\n"


def test_that_a_transform_comes_before_the_scale(tmp_path):
    entry = ArrayFile(variable="v", target="a", format="text", transform="exp10", scale=2.0)
    write_array(tmp_path / "a", np.array([1.0, 2.0]), entry)
    assert np.loadtxt(tmp_path / "a").tolist() == [20.0, 200.0]


@pytest.mark.parametrize(("transform", "dtype", "value"), [("exp", "float64", 1e3), ("none", "int32", 0.5)])
def test_that_a_value_that_cannot_be_written_is_a_failure(tmp_path, transform, dtype, value):
    entry = ArrayFile(variable="v", target="a", format="text", transform=transform, dtype=dtype)
    with pytest.raises(ModelFailed, match=r"v: 1 values cannot be written(.|\n)*at \(1,\)"):
        write_array(tmp_path / "a", np.array([1.0, value]), entry)


def test_that_an_array_that_is_not_there_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", cells=np.zeros(2))
    entry = ArrayFile(source=ArraySource(file=tmp_path / "a.npz", array="cell"), target="a.csv", format="csv")
    with pytest.raises(DataError, match="cells"):
        prepare_input_file(entry)


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "csv"},
        {"format": "csv", "variable": "v", "source": {"file": "x"}},
        {"format": "csv", "variable": "v", "keyword": "PORO"},
        {"format": "eclipse_include", "variable": "v"},
        {"format": "eclipse_include", "variable": "v", "keyword": "lower"},
    ],
)
def test_that_settings_of_an_array_file_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValueError, match=r"variable|keyword"):
        ArrayFile.model_validate({"target": "t"} | wrong)


def test_that_a_netcdf_file_holds_variables_with_their_dimensions(tmp_path):
    entry = prepare_input_file(NetcdfFile(target="in.nc", variables={"k": ["y", "x"], "q": []}))
    entry.write(tmp_path / "in.nc", member(tmp_path, k=np.arange(6.0).reshape(2, 3), q=np.array(4.0)))
    with xr.open_dataset(tmp_path / "in.nc", engine="h5netcdf") as found:
        assert dict(found.sizes) == {"y": 2, "x": 3}
        assert float(found["q"]) == 4.0
    with pytest.raises(ConfigError, match="dimensions of 'k' do not fit"):
        entry.write(tmp_path / "in.nc", member(tmp_path, k=np.zeros(3), q=np.array(4.0)))


def test_that_copies_and_links_hold_what_the_source_holds(tmp_path):
    (tmp_path / "deck").mkdir()
    (tmp_path / "deck" / "a").write_text("x")
    (tmp_path / "deck" / "a").chmod(0o555)
    for how in ("copy", "symlink"):
        for source in (tmp_path / "deck", tmp_path / "deck" / "a"):
            target = tmp_path / f"{how}-{source.name}"
            prepare_input_file(CopiedFile(source=source, how=how)).write(target, member(tmp_path))
            assert (target / "a" if target.is_dir() else target).read_text() == "x"
            assert target.is_symlink() == (how == "symlink")
    assert (tmp_path / "copy-a").stat().st_mode & 0o777 == 0o755
