"""Sections of a workflow file in, objects out."""
