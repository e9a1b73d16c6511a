"""Settings, errors, metrics, keys and the request log: what every room above uses."""
