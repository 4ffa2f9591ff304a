"""Inversions of a whole run: prepared once a step, applied once a slice."""

from daflow.methods.es_mda import EsMda
from daflow.methods.locality import Locality
from daflow.methods.locality_by_distance import DistanceLocality

__all__ = ["DistanceLocality", "EsMda", "Locality"]
