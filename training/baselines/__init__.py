"""Classifiers of scikit-learn and hmmlearn, fitted to a dataset."""
