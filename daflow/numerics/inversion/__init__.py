"""Updates with perturbed observations: the inversions in either space, and the transform of all slices."""
