"""The kinds of features, by name; without numpy, as commands offer them as choices."""

from typing import Literal

# What a network takes: MFCC or log-mel as prepared, the log-mel of the speech encoder
# (``data.features.encoder_config``), or the waveform, for encoders that are a file of the user's.
FeatureKind = Literal["mfcc", "log_mel", "encoder", "waveform"]
FEATURE_KINDS: tuple[FeatureKind, ...] = ("mfcc", "log_mel", "encoder", "waveform")
# Kinds that ``prepare`` writes; the others are computed from waveforms as they are read.
PreparedKind = Literal["mfcc", "log_mel"]
PREPARED_KINDS: tuple[PreparedKind, ...] = ("mfcc", "log_mel")
