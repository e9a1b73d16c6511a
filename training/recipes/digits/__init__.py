"""The training of the shipped digit models."""
