"""The linear model: predicted observations are a matrix times the state."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from daflow.config.builtin_models import LinearSettings
from daflow.errors import DataError, ModelFailed
from daflow.models.inputs import RowsAsked, variable
from daflow.ports import FloatArray, MemberInput, ObservationTable


class Linear:
    """Predict ``H x``: H a matrix from a file, or one that picks and scales entries of a variable.

    Observations have a column ``index``: the row of the matrix, or the entry picked.

    Laws: predictions add up and scale as the states do; a row of H is a prediction whoever else is asked.

    Raises
    ------
    daflow.errors.DataError
        The matrix is missing, has not two dimensions, or is not finite.
    """

    def __init__(self, settings: LinearSettings) -> None:
        self.settings = settings
        self._asked = RowsAsked((("index",), ("name",)), "linear")
        self._matrix = None if settings.matrix is None else _read_matrix(settings.matrix)
        self._index = _indices(settings) if self._matrix is None else np.arange(len(self._matrix))

    def observables(self) -> ObservationTable:
        """Return a row for each row of H; nothing has a time or a place."""
        what = self.settings.variable or "linear"
        nowhere = np.full(self._index.size, np.nan)
        return {
            "name": np.array([f"{what}:{i}" for i in self._index]),
            "kind": np.full(self._index.size, what),
            "time": np.zeros(self._index.size),
            "x": nowhere,
            "y": nowhere,
            "z": nowhere,
            "index": self._index,
        }

    def forecast(self, given: MemberInput) -> FloatArray:
        """Return the predicted observations (n_obs,), in the order of ``given.observations``."""
        asked = self._asked.rows(self.observables, given.observations)
        if self._matrix is None:
            return self.settings.scale * self._observed_variable(given)[self._index[asked]]
        # Every row is computed, whichever are asked for: a product of fewer rows may round differently.
        predicted: FloatArray = (self._matrix @ self._state(given))[asked]
        return predicted

    def _observed_variable(self, given: MemberInput) -> FloatArray:
        name, n = str(self.settings.variable), self.settings.n or 0
        shape = np.shape(given.parameters[name]) if name in given.parameters else (n,)
        values = variable(given, name, shape, "linear").ravel()
        if values.size != n:
            raise DataError(
                f"variable {name!r} has not as many entries as the linear model was told",
                got=values.size,
                allowed=n,
                do="correct 'n' in the model's settings",
            )
        return values

    def _state(self, given: MemberInput) -> FloatArray:
        state = np.concatenate([np.ravel(values) for values in given.parameters.values()])
        width = 0 if self._matrix is None else self._matrix.shape[1]
        if state.size != width:
            raise DataError(
                f"{self.settings.matrix}: the matrix and the state do not fit together",
                got=f"{width} columns for a state of {state.size} ({', '.join(given.parameters)})",
                allowed=f"{state.size} columns",
            )
        if not np.isfinite(state).all():
            raise ModelFailed(
                "the state that the linear model got is not finite",
                got=f"{int((~np.isfinite(state)).sum())} entries",
                allowed="finite numbers",
            )
        return state


def _indices(settings: LinearSettings) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    if settings.indices is not None:
        return np.array(settings.indices, dtype=np.intp)
    return np.arange(0, settings.n or 0, settings.every, dtype=np.intp)


def _read_matrix(path: Path) -> FloatArray:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise DataError(
            f"{path}: the matrix of the linear model cannot be read",
            got=str(problem),
            allowed="an .npy file of numbers",
            do="correct 'model.matrix'",
        ) from problem
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        got = f"{matrix.dtype} {matrix.shape}" if isinstance(matrix, np.ndarray) else "several arrays"
        raise DataError(
            f"{path}: not a matrix of real numbers", got=got, allowed="an .npy file, (n_obs, n_state)"
        )
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise DataError(
            f"{path}: the matrix is not finite at [{row}, {column}]",
            got=matrix[row, column],
            allowed="finite numbers",
        )
    numbers: FloatArray = matrix.astype(np.float64)
    return numbers
