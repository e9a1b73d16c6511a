"""A training run: network or baseline, progress, metrics."""
