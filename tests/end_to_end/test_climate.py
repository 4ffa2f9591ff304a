"""The climate workflow from data to summary: on a climate that is known, and on the one that was observed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from daflow.errors import DataError
from tests.end_to_end.small_run import run_inline
from tests.workflows.climate_scripts import (
    DATA,
    REAL,
    exact,
    prepare,
    prepared,
    summarise,
    write_known_climate,
)

SMALL = ("ensemble.size=100", "policy.min_members=100")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    folder = tmp_path_factory.mktemp("climate")
    write_known_climate(folder)
    return folder


def test_that_realizations_of_other_years_are_refused(made_up, tmp_path):
    other = shutil.copytree(made_up, tmp_path / "other")
    with np.load(made_up / prepare.ENSEMBLE) as archive:
        np.savez(other / prepare.ENSEMBLE, **{**archive, "year": archive["year"] + 1})
    with pytest.raises(DataError, match="not of the years"):
        prepare.prepare(other, tmp_path / "derived")


def test_that_a_known_climate_is_found_again(made_up, tmp_path, place, monkeypatch, capsys):
    workflow = prepared(made_up, tmp_path)
    run = run_inline(workflow, place / "run", *SMALL)
    observed = summarise.observed_by(run)
    prior, posterior = summarise.members_of(run, 0), summarise.members_of(run, -1)
    found = summarise.fit(observed, prior.predicted, posterior.predicted)
    assert found.expected[0] < found.chi_square < found.expected[1]
    before, after = prior.sensitivities(), posterior.sensitivities()
    low, high = np.percentile(after["ECS"], (5, 95))
    assert low < 3.0 < high
    assert all(after[name].std() < before[name].std() for name in after)
    monkeypatch.setattr(exact, "HERE", tmp_path)
    draws = exact.weighted(run.workflow, 4000, np.random.default_rng(1))
    for name, sample in after.items():
        wanted = exact.weighted_percentiles(draws.quantities[name], draws.weights)
        assert np.median(sample) == pytest.approx(wanted[1], abs=0.2 * (wanted[2] - wanted[0]))
    assert exact.main(["--draws", "300"]) == 0
    assert "effective draws" in capsys.readouterr().out
    picture = tmp_path / "before_and_after.svg"
    assert summarise.main([str(run.folder), "--figure", str(picture)]) == 0
    said = capsys.readouterr().out
    assert f"chi-square per degree of freedom {found.chi_square:.2f}" in said
    assert picture.stat().st_size > 10_000
    error = tmp_path / "derived" / "error.npz"
    np.savez(error, covariance=2.0 * np.load(error)["covariance"])
    assert summarise.main([str(run.folder)]) == 2
    assert "not the error covariance that the run was made with" in capsys.readouterr().err


@REAL
def test_that_the_observed_warming_is_reproduced_within_its_error_by_an_assessed_sensitivity(tmp_path, place):
    workflow = prepared(DATA, tmp_path)
    run = run_inline(workflow, place / "run", *SMALL)
    observed = summarise.observed_by(run)
    prior, posterior = summarise.members_of(run, 0), summarise.members_of(run, -1)
    found = summarise.fit(observed, prior.predicted, posterior.predicted)
    assert 0.75 < found.chi_square < 1.25
    assert abs(found.autocorrelation) < 0.15
    warming = observed.warming(posterior.predicted)
    assert abs(np.median(warming) - observed.warming(observed.values)) < observed.warming_std()
    before, after = prior.sensitivities(), posterior.sensitivities()
    for name, sample in after.items():
        low, high = summarise.ASSESSED[name].very_likely
        assert low < np.median(sample) < high
        assert sample.std() < before[name].std()
