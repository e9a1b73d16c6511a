"""Augmentation of batches of waveforms and log-mel features on the training device.

``AugmentConfig`` sets probabilities and ranges; ``augment_waveforms`` and ``augment_log_mel`` apply
the steps of ``data.augmentation.waveform``, ``data.augmentation.noise`` and
``data.augmentation.spectrogram``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from earful.data.augmentation.noise import add_impulses, add_noise
from earful.data.augmentation.sampling import FloatRange, apply_with_probability, uniform
from earful.data.augmentation.spectrogram import spec_augment, warp_time, warp_vocal_tract
from earful.data.augmentation.waveform import (
    change_gain,
    change_speed,
    clip_peaks,
    code_mu_law,
    equalise,
    limit_band,
    reverberate,
    shift_time,
    trim_edges,
)


@dataclass(frozen=True)
class AugmentConfig:
    """The strength and probability of each augmentation.

    ``p_*`` are probabilities per clip, ranges are uniform, decibels are of amplitude. The defaults
    suit short words by unknown speakers on unknown microphones.
    """

    speed: FloatRange = (0.92, 1.1)
    p_trim_edges: float = 0.4
    trim_edges_db: FloatRange = (-40.0, -10.0)
    shift_seconds: float = 0.12
    gain_db: FloatRange = (-15.0, 6.0)
    p_equalise: float = 0.5
    equaliser_db: float = 8.0
    p_band_limit: float = 0.15
    p_reverberate: float = 0.2
    reverberation_seconds: FloatRange = (0.05, 0.3)
    p_noise: float = 0.55
    snr_db: FloatRange = (0.0, 30.0)
    babble_share: float = 0.3
    p_impulses: float = 0.03
    impulse_share: FloatRange = (0.01, 0.3)
    p_codec: float = 0.1
    p_clipping: float = 0.05
    vocal_tract: FloatRange = (0.92, 1.09)
    vocal_tract_bend: float = 0.05
    tempo: FloatRange = (0.75, 1.35)
    tempo_bend: float = 0.3
    frequency_mask_bins: int = 6
    time_mask_seconds: float = 0.1
    masks_per_axis: int = 1
    p_mixup: float = 0.0


NO_AUGMENTATION = AugmentConfig(
    speed=(1.0, 1.0),
    p_trim_edges=0.0,
    shift_seconds=0.0,
    gain_db=(0.0, 0.0),
    p_equalise=0.0,
    p_band_limit=0.0,
    p_reverberate=0.0,
    p_noise=0.0,
    p_impulses=0.0,
    p_codec=0.0,
    p_clipping=0.0,
    vocal_tract=(1.0, 1.0),
    vocal_tract_bend=0.0,
    tempo=(1.0, 1.0),
    tempo_bend=0.0,
    frequency_mask_bins=0,
    time_mask_seconds=0.0,
    masks_per_axis=0,
)

# For noisy places: more and louder background noise, more of it babble.
STRONG_AUGMENTATION = AugmentConfig(p_noise=0.75, snr_db=(-5.0, 20.0), babble_share=0.6)

# For words by many real speakers: no codec, clipping, cut edges or change of tempo, but wider
# differences of speed, level, band, place and noise than the default.
MILD_AUGMENTATION = AugmentConfig(
    speed=(0.87, 1.15),
    p_trim_edges=0.0,
    shift_seconds=0.19,
    gain_db=(-30.0, 0.0),
    p_equalise=0.2,
    p_band_limit=0.33,
    p_reverberate=0.1,
    p_noise=0.7,
    snr_db=(3.0, 30.0),
    babble_share=0.5,
    p_codec=0.0,
    p_clipping=0.0,
    tempo=(1.0, 1.0),
    tempo_bend=0.0,
    frequency_mask_bins=5,
    time_mask_seconds=0.22,
)


def augment_waveforms(
    waveforms: Tensor,
    babble: Tensor,
    config: AugmentConfig,
    sample_rate_hz: int,
    generator: Generator,
) -> Tensor:
    """All waveform steps (batch, samples), in physical order: voice, room, noise, microphone.

    ``babble`` (clips, samples) is speech of other clips to mix in as background.
    """

    def apply(x: Tensor, probability: float, step: Callable[[Tensor], Tensor]) -> Tensor:
        return apply_with_probability(x, probability, step, generator)

    rate_hz = sample_rate_hz
    x = change_speed(waveforms, config.speed, generator)
    x = apply(x, config.p_trim_edges, lambda x: trim_edges(x, config.trim_edges_db, generator))
    x = shift_time(x, round(config.shift_seconds * rate_hz), generator)
    x = apply(
        x,
        config.p_reverberate,
        lambda x: reverberate(x, config.reverberation_seconds, rate_hz, generator),
    )
    x = apply(
        x,
        config.p_noise,
        lambda x: add_noise(x, babble, config.babble_share, config.snr_db, rate_hz, generator),
    )
    x = apply(x, config.p_impulses, lambda x: add_impulses(x, config.impulse_share, generator))
    x = apply(x, config.p_equalise, lambda x: equalise(x, config.equaliser_db, generator))
    x = apply(x, config.p_band_limit, lambda x: limit_band(x, rate_hz, generator))
    x = apply(x, config.p_clipping, lambda x: clip_peaks(x, generator))
    x = change_gain(x, config.gain_db, generator)
    return apply(x, config.p_codec, lambda x: code_mu_law(x, generator))


def augment_log_mel(
    log_mel: Tensor, config: AugmentConfig, frames_per_second: float, generator: Generator
) -> Tensor:
    """Vocal tract warp, time warp and SpecAugment masks on log-mel (batch, n_mels, frames)."""
    x = warp_vocal_tract(log_mel, config.vocal_tract, config.vocal_tract_bend, generator)
    x = warp_time(x, config.tempo, config.tempo_bend, generator)
    time_frames = round(config.time_mask_seconds * frames_per_second)
    return spec_augment(
        x, config.frequency_mask_bins, time_frames, config.masks_per_axis, generator
    )


def mixup(
    waveforms: Tensor, targets: Tensor, probability: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix random pairs of clips (batch, samples) and their targets (batch, labels).

    The mixing weights are uniform in [0, 1]. mixup: arXiv:1710.09412.
    """
    batch = len(waveforms)
    order = torch.randperm(batch, generator=generator, device=waveforms.device)
    share = uniform(batch, (0.0, 1.0), waveforms, generator)
    mixes = torch.rand((batch, 1), generator=generator, device=waveforms.device) < probability
    share = torch.where(mixes, share, torch.ones_like(share))
    mixed = waveforms * share + waveforms[order] * (1 - share)
    return mixed, targets * share + targets[order] * (1 - share)
