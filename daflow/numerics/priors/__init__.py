"""Where members come from: distributions, correlated fields, transforms of variables."""
