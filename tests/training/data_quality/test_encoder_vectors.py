"""Vectors of the speech encoder for clips of any length equal those of a dataset's clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.features.extractor import EncoderFrontend
from earful.models.networks.encoder import EncoderConfig, FrozenEncoder
from earful.training.data_quality import encoder_vectors
from earful.training.data_quality.encoder_vectors import BATCH_CLIPS, ClipEncoder, encoder_input
from earful.training.data_quality.measure_clip import MAX_THUMBNAIL_SECONDS, THUMBNAIL_FEATURES
from tests.fixtures.synthetic_audio import tone

RATE_HZ = 16_000


def word(seconds: float, seed: int) -> Waveform:
    """A tone in noise at 16 kHz."""
    sound = tone(("low", "mid", "high")[seed % 3], seconds, rate_hz=RATE_HZ)
    hiss = 0.01 * np.random.default_rng(seed).standard_normal(len(sound))
    return sound + hiss.astype(np.float32)


def encode(*clips: Waveform) -> NDArray[np.float32]:
    encoder = ClipEncoder()
    for clip in clips:
        encoder.add(clip)
    return np.stack(encoder.vectors())


@pytest.mark.parametrize("seconds", [0.04, 0.4, 1.7])
def test_vectors_are_those_of_the_encoder_network(seconds: float) -> None:
    clip = word(seconds, 1)
    frontend = EncoderFrontend(replace(THUMBNAIL_FEATURES, clip_seconds=len(clip) / RATE_HZ))
    with torch.inference_mode():
        log_mel = frontend.log_mel(torch.from_numpy(clip)[None])
        network = FrozenEncoder(32, log_mel.shape[2], 2, EncoderConfig()).eval()
        expected = network.pool(log_mel)[0].numpy()
    np.testing.assert_allclose(encoder_input(clip), log_mel[0].numpy(), atol=1e-3)
    np.testing.assert_allclose(encode(clip)[0], expected, atol=1e-2)


def test_a_vector_does_not_depend_on_the_other_clips_of_the_batch() -> None:
    clips = [word(0.1 + 0.05 * (n % 30), n) for n in range(BATCH_CLIPS + 3)]
    together = encode(*clips)
    assert together.shape == (len(clips), 288)
    for n in (0, 1, BATCH_CLIPS - 1, BATCH_CLIPS, len(clips) - 1):
        np.testing.assert_allclose(together[n], encode(clips[n])[0], atol=1e-3)


def test_of_a_long_clip_the_loudest_part_is_encoded() -> None:
    clip = word(MAX_THUMBNAIL_SECONDS, 2)
    late = np.concatenate([np.zeros(5 * RATE_HZ, np.float32), clip, np.zeros(9_000, np.float32)])
    np.testing.assert_allclose(encode(late), encode(clip), atol=0.5)


def test_no_clips_have_no_vectors() -> None:
    assert encoder_vectors.ClipEncoder().vectors() == []
