"""The search for good settings with Optuna. May import all of data, models, service, training."""
