"""Observations before they are used: by blocks, perturbed, checked, thinned, or missing."""
