"""Vectors of the pretrained speech encoder for clips of any length: input of ``label_errors``."""

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.pcm import INT16_FULL_SCALE
from earful.data.features.encoder_config import (
    BANDS,
    ENCODER_RATE_HZ,
    PADDING_SECONDS,
    encoder_features,
)
from earful.data.features.extractor import DYNAMIC_RANGE_DB
from earful.data.features.numpy_log_mel import log_mel
from earful.models.layers.pooling import mean_std_max
from earful.models.layers.speech_encoder import HOP_FRAMES, WINDOW_FRAMES, load_speech_encoder
from earful.training.data_quality.measure_clip import THUMBNAIL_FEATURES, limit_length

FEATURES = encoder_features(THUMBNAIL_FEATURES)
BATCH_CLIPS = 32

LogMel = NDArray[np.float32]
EncoderVector = NDArray[np.float32]


class ClipEncoder:
    """Encodes clips in batches; keeps no audio.

    Raises:
        EarfulError: the file of weights is damaged.
    """

    def __init__(self) -> None:
        self._encoder = load_speech_encoder(BANDS, WINDOW_FRAMES).eval()
        self._pending: list[LogMel] = []
        self._vectors: list[EncoderVector] = []

    def add(self, waveform: Waveform) -> None:
        """Add a clip (samples,) at 16 kHz, of which the loudest four seconds are used."""
        self._pending.append(encoder_input(limit_length(waveform)))
        if len(self._pending) == BATCH_CLIPS:
            self._encode_pending()

    def vectors(self) -> list[EncoderVector]:
        """Mean, standard deviation and maximum over time (288,) of each clip, as added."""
        self._encode_pending()
        return self._vectors

    def _encode_pending(self) -> None:
        if not self._pending:
            return
        n_frames = [log_mel.shape[1] for log_mel in self._pending]
        batch = np.zeros((len(n_frames), BANDS, max(n_frames)), np.float32)
        for row, clip in zip(batch, self._pending, strict=True):
            row[:, : clip.shape[1]] = clip
        with torch.inference_mode():
            windows = self._encoder(torch.from_numpy(batch))  # (batch, 96, windows)
            for clip_windows, frames in zip(windows, n_frames, strict=True):
                # Later windows see the frames after the clip's end.
                n_windows = (frames - WINDOW_FRAMES) // HOP_FRAMES + 1
                pooled = mean_std_max(clip_windows[None, :, :n_windows])
                self._vectors.append(pooled[0].numpy())
        self._pending.clear()


def encoder_input(waveform: Waveform) -> LogMel:
    """The encoder's input (32, frames) of (samples,) at 16 kHz, as ``EncoderFrontend`` has it."""
    padding = round(PADDING_SECONDS * ENCODER_RATE_HZ)
    decibels = log_mel(np.pad(waveform * np.float32(INT16_FULL_SCALE), padding), FEATURES)
    floor = decibels.max() - np.float32(DYNAMIC_RANGE_DB)
    scaled: LogMel = np.maximum(decibels, floor).T / np.float32(10) + np.float32(2)
    return scaled
