"""HTML report of a training run. May import all of data, models, service and training."""
