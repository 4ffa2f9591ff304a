"""Inversions of a whole run, and analyses of a cycle: prepared once a step, applied once a slice."""

from daflow.methods.es_mda import DiscrepancyEsMda, EsMda
from daflow.methods.filters_global import TransformFilter
from daflow.methods.filters_iterated import IterativeKalmanSmoother
from daflow.methods.filters_local import LocalSerialFilter, LocalTransformFilter
from daflow.methods.filters_perturbed import PerturbedFilter
from daflow.methods.filters_shrinkage import LocalShrinkageFilter, ShrinkageFilter
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
    "IterativeKalmanSmoother",
    "IterativeSmoother",
    "LevenbergMarquardt",
    "LocalSerialFilter",
    "LocalShrinkageFilter",
    "LocalTransformFilter",
    "Locality",
    "PerturbedFilter",
    "PerturbedUpdate",
    "RestrictedEsMda",
    "ShrinkageFilter",
    "SmallStateSmoother",
    "TransformFilter",
]
