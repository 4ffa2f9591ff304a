"""How a method inverts the covariance of the predictions: keys that several methods have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from daflow.config.section import Problem

Inversion = Literal[
    "naive",
    "exact_cholesky",
    "exact_lstsq",
    "exact_woodbury",
    "rescaled",
    "subspace",
    "subspace_rescaled",
]
TRUNCATING: Final[tuple[Inversion, ...]] = ("rescaled", "subspace", "subspace_rescaled")
"""The inversions that can leave something out."""

InversionChoice = Annotated[
    Inversion,
    Field(
        description="How the covariance of the predictions is inverted; rescaled, subspace and "
        "subspace_rescaled can leave out what 'truncation' says; naive and exact_lstsq take up to 20,000 "
        "observations."
    ),
]
Truncation = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="The fraction kept of the sum of singular values or eigenvalues; 1: nothing is left out.",
    ),
]


def of_truncation(inversion: Inversion, truncation: float) -> Iterator[Problem]:
    """Yield what is wrong with leaving something out."""
    if truncation < 1 and inversion not in TRUNCATING:
        what = f"inversion {inversion!r} leaves nothing out"
        yield Problem("truncation", what, truncation, f"1.0, or inversion: {' | '.join(TRUNCATING)}")
