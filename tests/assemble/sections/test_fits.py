"""What a model needs and can predict is found out before anything runs."""

import numpy as np
import pytest

from daflow.assemble.sections.fits import check_fit
from daflow.config.chaotic_models import KuramotoSivashinskySettings, Lorenz63Settings, TwoScaleSettings
from daflow.config.energy_balance import EnergyBalanceSettings
from daflow.config.quasigeostrophic import QuasigeostrophicSettings
from daflow.errors import DataError
from daflow.models import EnergyBalance, KuramotoSivashinsky, Lorenz63, LorenzTwoScale, Quasigeostrophic
from daflow.records import Variable


@pytest.fixture
def models(tmp_path):
    """Return models, each with the variables that it needs."""
    (tmp_path / "erf.csv").write_text("year,co2\n1850,0\n1851,1\n")
    climate = EnergyBalanceSettings(
        heat_capacities=(8.0, 100.0),
        heat_transfers=("feedback", 0.7),
        forcing=tmp_path / "erf.csv",
        terms={"co2": "scale"},
    )
    return {
        "lorenz63": (Lorenz63(Lorenz63Settings(rho="r")), {"x": (3,), "r": ()}),
        "lorenz96_two_scale": (
            LorenzTwoScale(TwoScaleSettings(n=4, n_fast=2)),
            {"x": (4,), "y": (8,)},
        ),
        "kuramoto_sivashinsky": (KuramotoSivashinsky(KuramotoSivashinskySettings(n=16)), {"u": (16,)}),
        "quasigeostrophic": (Quasigeostrophic(QuasigeostrophicSettings()), {"psi": (63, 31)}),
        "energy_balance": (EnergyBalance(climate), {"feedback": (), "scale": (1,)}),
    }


def laid_out(shapes):
    variables = []
    for name, shape in shapes.items():
        start = variables[-1].stop if variables else 0
        variables.append(Variable(name, tuple(f"{name}_{i}" for i in range(len(shape))), shape, start))
    return variables


def test_that_models_fit_the_variables_that_they_say_they_need(models):
    for kind, (model, shapes) in models.items():
        check_fit(kind, model, laid_out(shapes), model.observables())


def test_that_a_variable_missing_or_of_another_shape_is_named(models):
    for kind, (model, shapes) in models.items():
        for name in shapes:
            others = {each: shape for each, shape in shapes.items() if each != name}
            with pytest.raises(DataError, match=f"the {kind} model needs the variable '{name}'"):
                check_fit(kind, model, laid_out(others | {"spare": (2,)}), model.observables())
            with pytest.raises(DataError, match=f"'{name}' has not the shape that the {kind} model needs"):
                check_fit(kind, model, laid_out(shapes | {name: (5, 2)}), model.observables())


def test_that_an_observation_that_a_model_cannot_predict_is_named(models):
    for kind, (model, shapes) in models.items():
        late = {name: column[:1] for name, column in model.observables().items()} | {"time": np.array([1e9])}
        with pytest.raises(DataError, match=f"the {kind} model cannot predict 1 of 1 observations"):
            check_fit(kind, model, laid_out(shapes), late)
