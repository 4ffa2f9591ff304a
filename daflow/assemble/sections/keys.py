"""The key of a stage: a hash chain over all that its outcome depends on.

What was computed under one key may be used wherever the same key comes up; a changed setting changes the
keys of the stages that it touches and of those after them, and no others.
"""

from __future__ import annotations

from typing import Any

from daflow.config.load import digest
from daflow.config.schema import Workflow
from daflow.names import Phase
from daflow.runs.facts import Stage

FORMAT = 1
"""Raised when the same settings come to mean other numbers."""


def stage_keys(workflow: Workflow, n_steps: int, *, surveys: bool = False) -> dict[Stage, str]:
    """Return the key of every stage of a run; ``surveys``: whether slices are looked at before updates."""
    plain: dict[str, Any] = workflow.model_dump(mode="json")
    layout = {
        "grids": plain["grids"],
        "slice_size": workflow.layout_slice_size(),
        "dtype": plain["storage"]["dtype"],
    }
    # Added to what there was before these settings were, so that older runs keep their keys.
    layout |= {
        name: plain["storage"][name] for name in ("codec", "sharding") if plain["storage"][name] != "none"
    }
    # How many members a call forecasts is a matter of speed: each of them ends up with the same bits.
    plain["model"].pop("together", None)
    if plain["method"].get("root") == "symmetric":
        plain["method"].pop("root")
    if plain["model"].get("advance") is None:
        plain["model"].pop("advance", None)
    members = list(workflow.ensemble.members)
    # Order is content: it is that of the variables along ``state``.
    margins = {
        name: {key: parameter.pop(key) for key in ("transform", "clip")}
        for name, parameter in plain["parameters"].items()
    }
    facies = {name: seen for name, each in plain["parameters"].items() if (seen := each.pop("facies"))}
    model = [plain["model"], facies] if facies else plain["model"]
    prior = digest([FORMAT, plain["seed"], members, plain["parameters"], layout])
    quality = _quality(plain["observations"])
    missing = plain["policy"]["missing_predictions"]
    allowed = [] if missing == "invalid" else [missing]
    # A lag is no concern of stages before those that smooth.
    cycling = [] if workflow.cycling is None else [_without(plain["cycling"], "lag")]
    truth = digest([prior, model, plain["observations"], *cycling])
    local = _localization(plain["localization"])
    inversion = [plain["method"], local, *_inflation(plain["inflation"]), *quality]
    keys: dict[Stage, str] = {
        (Phase.COORDINATES, 0): digest([FORMAT, layout, plain["parameters"]]),
        (Phase.TRUTH, 0): truth,
        (Phase.PRIOR, 0): prior,
    }
    before = digest([prior, truth])
    for step in range(n_steps + 1):
        keys[Phase.FORECAST, step] = digest([before, model, *allowed])
        keys[Phase.PREPARE, step] = digest([keys[Phase.FORECAST, step], inversion])
        known = [keys[Phase.PREPARE, step], margins]
        if surveys:
            keys[Phase.SURVEY, step] = digest([*known, "survey"])
            keys[Phase.CONCLUDE, step] = digest([*known, "conclude"])
        keys[Phase.UPDATE, step] = before = digest(known)
    return keys | _smoothing(workflow, n_steps, keys)


def _smoothing(workflow: Workflow, n_steps: int, keys: dict[Stage, str]) -> dict[Stage, str]:
    """Return the keys of stages that smooth: of the last update that a state is told of."""
    lag = 0 if workflow.cycling is None else workflow.cycling.lag
    if not lag:
        return {}
    last = [min(step + lag, n_steps) - 1 for step in range(n_steps)]
    return {
        (Phase.SMOOTH, step): digest([keys[Phase.UPDATE, update], "smooth", step])
        for step, update in enumerate(last)
    }


def _without(plain: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key != name}


def _localization(plain: dict[str, Any]) -> dict[str, Any]:
    """Return it in the order that it had, and without what distance had not, where that is at its default."""
    if plain["kind"] != "distance":
        return plain
    first = {key: plain.pop(key) for key in ("kind", "tapers")}
    if plain["obs_obs"] == "none":
        plain.pop("obs_obs")
    if not plain["period"]:
        plain.pop("period")
    return first | plain


def _inflation(plain: Any) -> list[Any]:
    """Return the list of inflations in a list, or nothing: one alone is a list of one."""
    many = plain if isinstance(plain, list) else [plain]
    return [] if many in ([], ["none"]) else [many]


def _quality(observed: dict[str, Any]) -> list[Any]:
    """Take what only the analysis depends on, and what is not set, out of the section; return the former."""
    taken = {name: observed.pop(name) for name in ("super_obs", "background_check", "outliers")}
    if observed["kind"] == "file":
        if observed["thinning"] is None:
            del observed["thinning"]
        if observed["error"].get("recondition") is None:
            observed["error"].pop("recondition", None)
    return [taken] if any(taken.values()) else []
