"""Analyses of a filter as transforms of the ensemble, and the loop that cycles them in memory."""
