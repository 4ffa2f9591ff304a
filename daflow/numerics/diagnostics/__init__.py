"""Whether an ensemble is any good: misfit, spread, ranks, scores and information."""
