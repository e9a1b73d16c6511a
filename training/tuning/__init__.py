"""Hyperparameter search with Optuna. May import all of data, models, service, training."""
