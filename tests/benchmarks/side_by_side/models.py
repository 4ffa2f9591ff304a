"""A step of Lorenz-96, members together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from side_by_side.contest import Aim, Case, Contender
from side_by_side.peers import installed

from daflow.config.builtin_models import Lorenz96Settings
from daflow.models import Lorenz96
from daflow.ports import MemberInput

OURS, DAPPER = "daflow", "DAPPER"
FORCING, TIME_STEP = 8.0, 0.05


def lorenz96(place: Path, n_members: int, n_state: int, n_steps: int) -> Sequence[Contender]:
    """Return so many steps of the classical Runge-Kutta scheme, all members in one call."""
    start = FORCING + np.random.default_rng(1).standard_normal((n_members, n_state))
    ends: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {}
    contenders = []
    if installed("dapper"):
        from dapper.mods.Lorenz96 import step  # noqa: PLC0415 - where it is installed

        def theirs() -> None:
            state = start
            for _ in range(n_steps):
                state = step(state, np.nan, TIME_STEP)
            ends[DAPPER] = state

        contenders.append(Contender(DAPPER, theirs, result=lambda: ends[DAPPER]))

    model = Lorenz96(
        Lorenz96Settings(
            kind="lorenz96",
            variable="level",
            n=n_state,
            forcing=FORCING,
            time_step=TIME_STEP,
            every_steps=n_steps,
            n_times=1,
            together=n_members,
        )
    )
    asked = model.observables()
    given = [
        MemberInput(member, 0, {"level": state.copy()}, asked, member, place, place)
        for member, state in enumerate(start)
    ]

    def ours() -> None:
        ends[OURS] = np.array(model.forecast_many(given))

    return [*contenders, Contender(OURS, ours, result=lambda: ends[OURS])]


CASES = tuple(
    Case(
        f"lorenz96-{n_members}",
        "{n_steps} steps of Lorenz-96, {n_members} members of {n_state}",
        lorenz96,
        {"n_members": n_members, "n_state": 40, "n_steps": 40},
        {"n_members": 3, "n_state": 8, "n_steps": 2},
        (Aim(OURS, 0.0, (DAPPER,), sense="beside"),),
    )
    for n_members in (20, 1_000)
)
