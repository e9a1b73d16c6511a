"""Evaluation on held-out clips: metrics, noise tests, cross-validation, comparison."""
