"""Tasks where they run: what a worker does with one, and the pools that workers form."""
