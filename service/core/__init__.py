"""Settings, errors, metrics, API keys and the request log."""
