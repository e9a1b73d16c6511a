"""Audio decoding, streaming, windows, PCM conversion and fingerprints."""
