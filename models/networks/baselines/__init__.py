"""Classifiers that are fitted, not trained by gradients; may import ``data`` and ``models``."""
