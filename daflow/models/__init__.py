"""Forward models: each forecasts one member, by the `Model` protocol of `daflow.ports`.

`Linear`, `Lorenz96` and `Reservoir` need nothing but their settings. A user's own model enters through
`daflow.models.callable` (a Python function) or `daflow.models.command` (any program).
"""

from daflow.models.linear import Linear
from daflow.models.lorenz96 import Lorenz96
from daflow.models.reservoir import Reservoir

__all__ = ["Linear", "Lorenz96", "Reservoir"]
