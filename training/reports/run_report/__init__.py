"""A training run as one HTML page. May import all of data, models, service and training."""
