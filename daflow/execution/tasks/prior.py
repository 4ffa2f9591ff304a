"""Where members come from: drawn from distributions and random fields, or read from the user's arrays.

A variable's numbers are addressed by the seed, the member's number and the variable's name, and by nothing
else: they do not depend on how many members or variables there are, on the order in which members are
drawn, or on who draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Protocol

import numpy as np

from daflow.config.observations import ArrayTruth, DrawnTruth
from daflow.config.parameters import ParameterSettings
from daflow.config.priors import (
    ArrayPrior,
    ClimatologyPrior,
    ConstantPrior,
    DesignPrior,
    GaussianFieldPrior,
    LognormalPrior,
    NormalPrior,
    TriangularPrior,
    TruncatedNormalPrior,
    UniformPrior,
)
from daflow.errors import DataError, InputError
from daflow.execution.tasks.climatology import open_climatology, open_design
from daflow.execution.tasks.realizations import open_realizations, open_truth
from daflow.names import TRUTH, Purpose
from daflow.numerics.arrays.random import standard_normals
from daflow.numerics.priors.distributions import (
    Constant,
    Distribution,
    LogNormal,
    Normal,
    Triangular,
    TruncatedNormal,
    Uniform,
)
from daflow.numerics.priors.fields import FieldSpectrum, embed
from daflow.numerics.priors.variograms import Variogram
from daflow.ports import FloatArray
from daflow.records import Grid, Layout, Variable

PIECE_SIZE: Final = 2**20
"""How many independent numbers are drawn at a time: memory does not grow with the state."""
SPECTRA_KEPT: Final = 8
"""How many spectra of random fields a process keeps."""

Parameters = Mapping[str, ParameterSettings]


class ParameterPrior:
    """The prior of all variables, and the truth of a twin experiment.

    Laws: a member has the same numbers whatever the number of members, the order of drawing and the other
    variables; members are independent of each other, and of the truth; the pieces joined are the member.

    Parameters
    ----------
    parameters
        The settings of each variable in the layout.
    layout
        Which variables there are, how large, and how many members.
    seed
        The run's.
    truth
        Where the member `daflow.names.TRUTH` comes from; ``None``: it is drawn.

    Raises
    ------
    daflow.errors.DataError
        A file or an array is missing, does not have the shape of its variable, or has too few rows.
    """

    def __init__(
        self,
        parameters: Parameters,
        layout: Layout,
        seed: int,
        truth: DrawnTruth | ArrayTruth | None = None,
    ) -> None:
        self._n_members = layout.n_members
        self._sources = tuple(
            _source(variable, parameters[variable.name], layout.n_members, seed)
            for variable in layout.variables
        )
        self._truth = self._sources
        if isinstance(truth, ArrayTruth):
            with _about("observations.truth"):
                self._truth = tuple(
                    open_truth(variable, parameters[variable.name], truth) for variable in layout.variables
                )

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield a member's numbers (n,), float64, in pieces that follow each other along ``state``.

        Memory: 2^20 numbers of a variable whose numbers are independent, a variable that is a random field
        or comes from a file.

        Raises
        ------
        daflow.errors.DataError
            There is no such member; what its row of an array holds is not finite, or not what the
            variable's scale or transform can take; a random field's variogram does not fit on its grid.
        """
        if member != TRUTH and not 0 <= member < self._n_members:
            raise DataError("there is no such member", got=member, allowed=f"0 to {self._n_members - 1}")
        for source in self._truth if member == TRUTH else self._sources:
            yield from source.pieces(member)

    def check(self) -> None:
        """Prepare the random fields: what could go wrong with them goes wrong now.

        Raises
        ------
        daflow.errors.DataError
            A variogram does not fit on its grid.
        """
        for source in self._sources:
            if isinstance(source, _Field):
                source.spectrum()


class _Source(Protocol):
    """Where one variable of each member comes from."""

    def pieces(self, member: int) -> Iterator[FloatArray]:
        """Yield the variable's numbers, one piece behind the other."""
        ...


@dataclass(frozen=True, slots=True)
class _Stream:
    """The random numbers of one variable."""

    seed: int
    name: str

    def normals(self, member: int, start: int, stop: int) -> FloatArray:
        # By name, not by position: a variable that is added or moved leaves the others' numbers alone.
        code = int.from_bytes(blake2b(self.name.encode(), digest_size=8).digest(), "big") >> 1
        return standard_normals(self.seed, Purpose.PRIOR, (member, code), start, stop)


@dataclass(frozen=True, slots=True)
class _Independent:
    """Numbers that are independent of each other."""

    distribution: Distribution
    size: int
    stream: _Stream

    def pieces(self, member: int) -> Iterator[FloatArray]:
        for start in range(0, self.size, PIECE_SIZE):
            stop = min(start + PIECE_SIZE, self.size)
            yield self.distribution.from_normals(self.stream.normals(member, start, stop))


@dataclass(frozen=True, slots=True)
class _Same:
    """One value everywhere, in every member and in the truth."""

    value: float
    size: int

    def pieces(self, member: int) -> Iterator[FloatArray]:
        del member
        for start in range(0, self.size, PIECE_SIZE):
            yield Constant(self.value).from_normals(np.zeros(min(PIECE_SIZE, self.size - start)))


@dataclass(frozen=True, slots=True)
class _Field:
    """A Gaussian random field."""

    name: str
    grid: Grid
    variogram: Variogram
    mean: float
    std: float
    stream: _Stream

    def spectrum(self) -> FieldSpectrum:
        with _about(f"parameters.{self.name}.prior"):
            return _spectrum(self.grid, self.variogram)

    def pieces(self, member: int) -> Iterator[FloatArray]:
        spectrum = self.spectrum()
        normals = self.stream.normals(member, 0, spectrum.n_normals)
        yield spectrum.sample(normals, mean=self.mean, std=self.std).ravel()


@lru_cache(maxsize=SPECTRA_KEPT)
def _spectrum(grid: Grid, variogram: Variogram) -> FieldSpectrum:
    return embed(grid.shape, grid.spacing, variogram, grid.axes)


_DISTRIBUTIONS: Final[Mapping[type[Any], Callable[[Any], Distribution]]] = {
    NormalPrior: lambda prior: Normal(prior.mean, prior.std),
    LognormalPrior: lambda prior: LogNormal(prior.mean_log, prior.std_log),
    UniformPrior: lambda prior: Uniform(prior.lower, prior.upper),
    TruncatedNormalPrior: lambda prior: TruncatedNormal(prior.mean, prior.std, *prior.bounds),
    TriangularPrior: lambda prior: Triangular(prior.lower, prior.mode, prior.upper),
}


def _source(variable: Variable, settings: ParameterSettings, n_members: int, seed: int) -> _Source:
    prior, stream = settings.prior, _Stream(seed, variable.name)
    with _about(f"parameters.{variable.name}.prior"):
        match prior:
            case ArrayPrior():
                return open_realizations(variable, settings, prior, n_members)
            case GaussianFieldPrior():
                return _field(variable, prior, stream)
            case ClimatologyPrior():
                # One stream for all variables: the state of one moment stays together.
                same = _Stream(seed, f"climatology {prior.draw}")
                return open_climatology(variable, settings, prior, n_members, same)
            case DesignPrior():
                return open_design(variable, settings, prior, n_members)
            case ConstantPrior():
                return _Same(prior.value, variable.size)
            case _:
                return _Independent(_DISTRIBUTIONS[type(prior)](prior), variable.size, stream)


def _field(variable: Variable, prior: GaussianFieldPrior, stream: _Stream) -> _Field:
    if variable.grid is None:
        raise DataError("a random field needs a grid", do="put the variable on a grid")
    lengths = (prior.lengths.get("x"), prior.lengths.get("y"), prior.lengths.get("z"))
    variogram = Variogram(prior.variogram, lengths, prior.angle)
    return _Field(variable.name, variable.grid, variogram, prior.mean, prior.std, stream)


@contextmanager
def _about(key: str) -> Iterator[None]:
    """Say which key of the workflow file an error is about."""
    try:
        yield
    except InputError as error:
        what = f"{key}: {error.what}"
        raise type(error)(what, got=error.got, allowed=error.allowed, do=error.do) from error
