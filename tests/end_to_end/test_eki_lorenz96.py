"""Localizers of ensemble Kalman inversion, compared on Lorenz-96: the bars that other codes' numbers set."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "workflows" / "eki_lorenz96"
SEEDS = (1, 2, 3)


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("compare_localizers")


@pytest.mark.parametrize(("scheme", "factor"), [("momentum", 1.6), ("perturbed", 1.4)])
def test_that_corrections_of_sampling_errors_beat_none(comparison, scheme, factor):
    observed = comparison.observations(SEEDS)

    def misfits(name):
        localization = comparison.LOCALIZERS[name]
        return np.array(
            [comparison.invert(localization, scheme, *given) for given in zip(SEEDS, observed, strict=True)]
        )

    none, powers, nice, distance = (misfits(name) for name in ("none", "sec", "nice", "gaspari_cohn"))
    assert 12 < none[:, 0].mean() < 17
    assert 10 < none[:, -1].mean() < 14
    gains = none[:, -1] / nice[:, -1]
    assert gains.mean() >= factor
    assert gains.min() >= 1.3
    assert nice[:, -1].mean() < powers[:, -1].mean() < none[:, -1].mean()
    assert (none[:, -1] / distance[:, -1]).mean() >= 4


def test_that_a_taper_of_one_block_only_ends_in_no_number_and_says_so(comparison):
    observed = comparison.observations([1])[0]
    found = comparison.invert(comparison.LOCALIZERS["radial_one"], "momentum", 1, observed)
    assert len(found) == comparison.N_ITERATIONS
    assert found[0] is not None
    assert found[-1] is None
    lost = comparison.Result("radial_one", "momentum", [found])
    assert "not finite for 1 of 1 seeds" in comparison.table([lost], "momentum")
