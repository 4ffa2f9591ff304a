"""Inversions of a whole run: prepared once a step, applied once a slice."""

from daflow.methods.es_mda import DiscrepancyEsMda, EsMda
from daflow.methods.iterative_smoothers import (
    GaussNewton,
    IterativeSmoother,
    LevenbergMarquardt,
    SmallStateSmoother,
)
from daflow.methods.kalman_inversion import AcceleratedEki, Eki, Etki
from daflow.methods.locality import Locality
from daflow.methods.locality_by_distance import DistanceLocality
from daflow.methods.perturbed_update import PerturbedUpdate
from daflow.methods.restricted_es_mda import RestrictedEsMda

__all__ = [
    "AcceleratedEki",
    "DiscrepancyEsMda",
    "DistanceLocality",
    "Eki",
    "EsMda",
    "Etki",
    "GaussNewton",
    "IterativeSmoother",
    "LevenbergMarquardt",
    "Locality",
    "PerturbedUpdate",
    "RestrictedEsMda",
    "SmallStateSmoother",
]
