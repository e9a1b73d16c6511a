"""Bytes of a recording to a waveform: decoding, windows, PCM."""
