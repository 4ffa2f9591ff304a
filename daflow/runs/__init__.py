"""A run from its journal: what is done, what comes next, and the loop that does it."""
