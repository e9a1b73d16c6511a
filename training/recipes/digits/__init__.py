"""The training of the shipped digit model."""
