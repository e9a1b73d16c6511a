"""Random changes to waveforms and spectrograms, for training."""
