"""The training configuration, and overrides given as NAME=VALUE."""
