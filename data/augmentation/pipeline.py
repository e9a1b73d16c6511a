"""Augmentation of waveforms and log-mel features, whole batches at a time on the training device.

``Recipe`` says how strong everything is; ``augment_waveforms`` and ``augment_log_mel`` apply it in
order. The steps are in ``data.augmentation.waveform``, ``data.augmentation.noise`` and ``data.augmentation.spectrogram``.
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
    """How strongly and how often clips are changed.

    ``p_*`` are chances per clip, ranges are uniform. Decibels are of amplitude. The defaults are
    set for short words from unknown voices and microphones.
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

# For use in a crowd: other voices are louder, and more often in the background.
STRONG_AUGMENTATION = AugmentConfig(p_noise=0.75, snr_db=(-5.0, 20.0), babble_share=0.6)


def augment_waveforms(
    waveforms: Tensor,
    babble: Tensor,
    augment_config: AugmentConfig,
    sample_rate_hz: int,
    generator: Generator,
) -> Tensor:
    """All waveform steps in the order in which sound meets them: voice, room, noise, microphone.

    ``waveforms`` are (batch, samples); ``babble`` (clips, samples) holds speech of others to be
    mixed in as background.
    """

    def apply(x: Tensor, probability: float, step: Callable[[Tensor], Tensor]) -> Tensor:
        return apply_with_probability(x, probability, step, generator)

    rate_hz = sample_rate_hz
    x = change_speed(waveforms, augment_config.speed, generator)
    x = apply(
        x,
        augment_config.p_trim_edges,
        lambda x: trim_edges(x, augment_config.trim_edges_db, generator),
    )
    x = shift_time(x, round(augment_config.shift_seconds * rate_hz), generator)
    x = apply(
        x,
        augment_config.p_reverberate,
        lambda x: reverberate(x, augment_config.reverberation_seconds, rate_hz, generator),
    )
    x = apply(
        x,
        augment_config.p_noise,
        lambda x: add_noise(
            x, babble, augment_config.babble_share, augment_config.snr_db, rate_hz, generator
        ),
    )
    x = apply(
        x,
        augment_config.p_impulses,
        lambda x: add_impulses(x, augment_config.impulse_share, generator),
    )
    x = apply(
        x, augment_config.p_equalise, lambda x: equalise(x, augment_config.equaliser_db, generator)
    )
    x = apply(x, augment_config.p_band_limit, lambda x: limit_band(x, rate_hz, generator))
    x = apply(x, augment_config.p_clipping, lambda x: clip_peaks(x, generator))
    x = change_gain(x, augment_config.gain_db, generator)
    return apply(x, augment_config.p_codec, lambda x: code_mu_law(x, generator))


def augment_log_mel(
    log_mel: Tensor, augment_config: AugmentConfig, frames_per_second: float, generator: Generator
) -> Tensor:
    """Vocal tract, tempo and SpecAugment masks on decibels (batch, n_mels, frames)."""
    x = warp_vocal_tract(
        log_mel, augment_config.vocal_tract, augment_config.vocal_tract_bend, generator
    )
    x = warp_time(x, augment_config.tempo, augment_config.tempo_bend, generator)
    time_frames = round(augment_config.time_mask_seconds * frames_per_second)
    return spec_augment(
        x, augment_config.frequency_mask_bins, time_frames, augment_config.masks_per_axis, generator
    )


def mixup(
    waveforms: Tensor, targets: Tensor, probability: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix clips (batch, samples) and their target distributions (batch, labels) in pairs.

    The shares are uniform. mixup: arXiv:1710.09412.
    """
    batch = len(waveforms)
    order = torch.randperm(batch, generator=generator, device=waveforms.device)
    share = uniform(batch, (0.0, 1.0), waveforms, generator)
    mixes = torch.rand((batch, 1), generator=generator, device=waveforms.device) < probability
    share = torch.where(mixes, share, torch.ones_like(share))
    mixed = waveforms * share + waveforms[order] * (1 - share)
    return mixed, targets * share + targets[order] * (1 - share)
