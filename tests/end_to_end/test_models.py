"""Every model that comes along in a whole twin experiment, from its workflow file to the posterior."""

import numpy as np
import pytest

from tests.end_to_end.small_run import assert_same_bits, finals, run_inline, written

FRAME = """
name: small
seed: 3
ensemble: {{size: 4}}
parameters: {parameters}
model: {model}
observations: {{kind: twin, error: {{default: {{absolute: 0.5}}}}}}
method: {{kind: es_mda, steps: 1}}
"""
FORCED = "forcing: erf.csv, terms: {all: scale}, reference: [1851, 1853]"
NORMAL = "prior: {kind: normal, mean: 1.0, std: 0.2}"

MODELS = {
    "lorenz63": (
        f"{{x: {{shape: [3], {NORMAL}}}, rho: {{{NORMAL}}}}}",
        "{kind: lorenz63, rho: rho, every_steps: 5, n_times: 2, observe: [x, z]",
    ),
    "lorenz96": (
        f"{{x: {{shape: [12], {NORMAL}}}}}",
        "{kind: lorenz96, n: 12, every_steps: 2, n_times: 2, observe_every: 3",
    ),
    "two scales": (
        f"{{x: {{shape: [6], {NORMAL}}}, y: {{shape: [24], {NORMAL}}}, c: {{{NORMAL}}}}}",
        "{kind: lorenz96_two_scale, n: 6, n_fast: 4, coupling: c, every_steps: 3, observe: both",
    ),
    "kuramoto_sivashinsky": (
        f"{{u: {{shape: [32], {NORMAL}}}}}",
        "{kind: kuramoto_sivashinsky, n: 32, length: 22, every_steps: 4, observe_every: 4",
    ),
    "quasigeostrophic": (
        f"{{psi: {{shape: [15, 7], {NORMAL}}}}}",
        "{kind: quasigeostrophic, shape: [15, 7], every_steps: 4, observe: speed, points: [[1, 2], [7, 3]]",
    ),
    "energy_balance": (
        f"{{feedback: {{{NORMAL}}}, scale: {{{NORMAL}}}}}",
        "{kind: energy_balance, heat_capacities: [8, 100], heat_transfers: [feedback, 0.7], " + FORCED,
    ),
}
FORCING = "year,all\n" + "\n".join(f"{1850 + i},{0.1 * i}" for i in range(12)) + "\n"


@pytest.mark.parametrize("name", MODELS)
def test_that_a_twin_experiment_ends_and_members_forecast_together_end_with_the_same_bits(tmp_path, name):
    parameters, model = MODELS[name]
    (tmp_path / "erf.csv").write_text(FORCING)
    alone = written(tmp_path, FRAME.format(parameters=parameters, model=model + "}"))
    ends = finals(run_inline(alone, tmp_path / "alone"))
    assert all(np.isfinite(array).all() and array.std(axis=0).max() > 0.0 for array in ends.values())
    if name != "quasigeostrophic":
        together = run_inline(alone, tmp_path / "together", "model.together=3", "execution.group=4")
        assert_same_bits(finals(together), ends)
