"""TrainConfig, and settings given by name."""
