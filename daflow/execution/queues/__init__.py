"""Batch systems, by the commands that their manuals give."""
