"""Spread given back to an ensemble: a fixed share, or one found from innovations."""
