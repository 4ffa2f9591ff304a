"""The user's files, read: arrays, tables of observations and the covariances of their errors."""

from daflow.inputs.arrays import StoredArray, open_array
from daflow.inputs.obs_error import covariance_of
from daflow.inputs.observations import read_observations

__all__ = ["StoredArray", "covariance_of", "open_array", "read_observations"]
