"""Other analyses of a forecast that is there."""
