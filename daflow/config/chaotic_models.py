"""Settings of the small chaotic models: Lorenz-63, two-scale Lorenz-96, Kuramoto-Sivashinsky."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from daflow.config.builtin_models import TOGETHER, Count, NumberOrName
from daflow.config.section import Name, Positive, Problem, Section

EVERY_STEPS = "Time steps between two times of observation."
N_TIMES = "How many times of observation there are."


class Lorenz63Settings(Section):
    """The model of Lorenz (1963): convection in three numbers x, y, z."""

    kind: Literal["lorenz63"] = Field(default="lorenz63", description="The Lorenz-63 model.")
    variable: Name = Field(default="x", description="The variable that is the initial x, y, z, shape [3].")
    sigma: NumberOrName = Field(
        default=10.0, description="The Prandtl number, or the variable of one number that is it. No unit."
    )
    rho: NumberOrName = Field(
        default=28.0, description="The relative Rayleigh number, or the variable that is it. No unit."
    )
    beta: NumberOrName = Field(
        default=8.0 / 3.0, description="The shape of the convection cell, or its variable. No unit."
    )
    time_step: Positive = Field(default=0.01, description="Of the Runge-Kutta scheme, model time units.")
    every_steps: Count = Field(default=1, description=EVERY_STEPS)
    n_times: Count = Field(default=1, description=N_TIMES)
    observe: tuple[Literal["x", "y", "z"], ...] = Field(
        default=("x", "y", "z"), min_length=1, description="Which of the three are observed."
    )
    together: Count = Field(default=1, description=TOGETHER)

    def _problems(self) -> Iterator[Problem]:
        if len(set(self.observe)) < len(self.observe):
            yield Problem("observe", "one is named twice", list(self.observe), "each once")


class TwoScaleSettings(Section):
    """The two-scale model of Lorenz (1996): a slow ring, each component with fast ones that it drives."""

    kind: Literal["lorenz96_two_scale"] = Field(
        default="lorenz96_two_scale", description="The two-scale Lorenz-96 model."
    )
    slow: Name = Field(default="x", description="The variable that is the slow initial state, shape [n].")
    fast: Name = Field(
        default="y", description="The variable that is the fast initial state, shape [n * n_fast]."
    )
    n: int = Field(default=36, ge=4, description="How many slow components there are.")
    n_fast: Count = Field(default=10, description="How many fast components each slow one has.")
    forcing: NumberOrName = Field(
        default=10.0,
        description="The forcing F, or the name of a variable of one number that is it. No unit.",
    )
    coupling: NumberOrName = Field(
        default=1.0, description="How strongly the scales act on each other, h, or its variable. No unit."
    )
    time_ratio: NumberOrName = Field(
        default=10.0, description="How much faster the fast scale is, c, or its variable. No unit."
    )
    space_ratio: NumberOrName = Field(
        default=10.0, description="How much smaller its amplitude is, b, or its variable; not 0. No unit."
    )
    time_step: Positive = Field(default=0.005, description="Of the Runge-Kutta scheme, model time units.")
    every_steps: Count = Field(default=1, description=EVERY_STEPS)
    n_times: Count = Field(default=1, description=N_TIMES)
    observe: Literal["slow", "both"] = Field(
        default="slow", description="Whether the fast components are observed as well."
    )
    observe_every: Count = Field(
        default=1, description="Observe components 0, observe_every, 2 observe_every... of each scale."
    )
    together: Count = Field(default=1, description=TOGETHER)

    def _problems(self) -> Iterator[Problem]:
        if self.n * self.n_fast < 4:
            yield Problem(
                "n_fast", "the fast ring is too short", self.n * self.n_fast, "4 components or more"
            )
        if self.slow == self.fast:
            yield Problem("fast", "the two scales are two variables", self.fast, "another name than 'slow'")
        if self.space_ratio == 0.0:
            yield Problem("space_ratio", "divides the coupling", 0, "not 0")


class KuramotoSivashinskySettings(Section):
    """The equation of Kuramoto and Sivashinsky on a ring: flame fronts, and chaos in one dimension."""

    kind: Literal["kuramoto_sivashinsky"] = Field(
        default="kuramoto_sivashinsky", description="The Kuramoto-Sivashinsky equation."
    )
    variable: Name = Field(default="u", description="The variable that is the initial state, shape [n].")
    n: int = Field(default=128, ge=8, description="How many grid points the ring has.")
    length: Positive = Field(
        default=100.53096491487338,
        description="Of the ring; the longer, the more chaotic. Default: 32 pi. No unit.",
    )
    time_step: Positive = Field(default=0.25, description="Of the ETDRK4 scheme, model time units.")
    every_steps: Count = Field(default=1, description=EVERY_STEPS)
    n_times: Count = Field(default=1, description=N_TIMES)
    observe_every: Count = Field(
        default=1, description="Observe grid points 0, observe_every, 2 observe_every...; in points."
    )
    together: Count = Field(default=1, description=TOGETHER)
