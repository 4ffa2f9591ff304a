"""Pools: where tasks are sent, who is there to do them, and what became of those whose worker died."""
