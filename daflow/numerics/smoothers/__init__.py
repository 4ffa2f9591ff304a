"""Inversions that go in steps: how long each is, and iterations in the space of members."""
