"""A training run from start to end: network or baseline, progress, metrics."""
