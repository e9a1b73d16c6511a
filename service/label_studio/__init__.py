"""Label Studio's machine-learning backend: pre-labels tasks and receives annotations."""
