"""Forward models: each forecasts one member, by the `Model` protocol of `daflow.ports`, some several at once.

The models here need nothing but their settings. A user's own model enters through `daflow.models.callable` (a
Python function) or `daflow.models.command` (any program).
"""

from daflow.models.energy_balance import EnergyBalance
from daflow.models.kuramoto_sivashinsky import KuramotoSivashinsky
from daflow.models.linear import Linear
from daflow.models.lorenz63 import Lorenz63
from daflow.models.lorenz96 import Lorenz96
from daflow.models.lorenz96_two_scale import LorenzTwoScale
from daflow.models.quasigeostrophic import Quasigeostrophic
from daflow.models.reservoir import Reservoir

__all__ = [
    "EnergyBalance",
    "KuramotoSivashinsky",
    "Linear",
    "Lorenz63",
    "Lorenz96",
    "LorenzTwoScale",
    "Quasigeostrophic",
    "Reservoir",
]
