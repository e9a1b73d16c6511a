"""Augmentation of waveforms and log-mel features for training."""
