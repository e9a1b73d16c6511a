"""Classifiers that are fitted instead of trained by gradient descent."""
