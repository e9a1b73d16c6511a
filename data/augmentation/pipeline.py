"""Augmentation of waveforms and log-mel features, whole batches at a time on the training device.

``Recipe`` says how strong everything is; ``augment_waveforms`` and ``augment_log_mel`` apply it in
order. The steps are in ``data.augmentation.waveform``, ``data.augmentation.noise`` and ``data.augmentation.spectrogram``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from earful.data.augmentation.noise import add_impulses, add_noise
from earful.data.augmentation.sampling import Range, sometimes, uniform
from earful.data.augmentation.spectrogram import mask, warp_time, warp_vocal_tract
from earful.data.augmentation.waveform import (
    change_gain,
    change_speed,
    clip_peaks,
    code_mu_law,
    cut_edges,
    equalise,
    limit_band,
    reverberate,
    shift_time,
)


@dataclass(frozen=True)
class Recipe:
    """How strongly and how often clips are changed.

    ``p_*`` are chances per clip, ranges are uniform. Decibels are of amplitude. The defaults are
    set for short words from unknown voices and microphones.
    """

    speed: Range = (0.92, 1.1)
    p_cut_edges: float = 0.4
    cut_edges_db: Range = (-40.0, -10.0)
    shift_seconds: float = 0.12
    gain_db: Range = (-15.0, 6.0)
    p_equalise: float = 0.5
    equaliser_db: float = 8.0
    p_band_limit: float = 0.15
    p_reverberate: float = 0.2
    reverberation_seconds: Range = (0.05, 0.3)
    p_noise: float = 0.55
    snr_db: Range = (0.0, 30.0)
    babble_share: float = 0.3
    p_impulses: float = 0.03
    impulse_share: Range = (0.01, 0.3)
    p_codec: float = 0.1
    p_clipping: float = 0.05
    vocal_tract: Range = (0.92, 1.09)
    vocal_tract_bend: float = 0.05
    tempo: Range = (0.75, 1.35)
    tempo_bend: float = 0.3
    frequency_mask_bands: int = 6
    time_mask_seconds: float = 0.1
    masks: int = 1
    p_mixup: float = 0.0


UNCHANGED = Recipe(
    speed=(1.0, 1.0), p_cut_edges=0.0, shift_seconds=0.0, gain_db=(0.0, 0.0), p_equalise=0.0,
    p_band_limit=0.0, p_reverberate=0.0, p_noise=0.0, p_impulses=0.0, p_codec=0.0, p_clipping=0.0,
    vocal_tract=(1.0, 1.0), vocal_tract_bend=0.0, tempo=(1.0, 1.0), tempo_bend=0.0,
    frequency_mask_bands=0, time_mask_seconds=0.0, masks=0,
)  # fmt: skip

# For use in a crowd: other voices are louder, and more often in the background.
HEAVY_NOISE = Recipe(p_noise=0.75, snr_db=(-5.0, 20.0), babble_share=0.6)


def augment_waveforms(
    waveforms: Tensor, babble: Tensor, recipe: Recipe, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """All waveform steps in the order in which sound meets them: voice, room, noise, microphone.

    ``waveforms`` are (batch, samples); ``babble`` (clips, samples) holds speech of others to be
    mixed in as background.
    """

    def maybe(x: Tensor, chance: float, step: Callable[[Tensor], Tensor]) -> Tensor:
        return sometimes(x, chance, step, generator)

    rate_hz = sample_rate_hz
    x = change_speed(waveforms, recipe.speed, generator)
    x = maybe(x, recipe.p_cut_edges, lambda x: cut_edges(x, recipe.cut_edges_db, generator))
    x = shift_time(x, round(recipe.shift_seconds * rate_hz), generator)
    x = maybe(
        x,
        recipe.p_reverberate,
        lambda x: reverberate(x, recipe.reverberation_seconds, rate_hz, generator),
    )
    x = maybe(
        x,
        recipe.p_noise,
        lambda x: add_noise(x, babble, recipe.babble_share, recipe.snr_db, rate_hz, generator),
    )
    x = maybe(x, recipe.p_impulses, lambda x: add_impulses(x, recipe.impulse_share, generator))
    x = maybe(x, recipe.p_equalise, lambda x: equalise(x, recipe.equaliser_db, generator))
    x = maybe(x, recipe.p_band_limit, lambda x: limit_band(x, rate_hz, generator))
    x = maybe(x, recipe.p_clipping, lambda x: clip_peaks(x, generator))
    x = change_gain(x, recipe.gain_db, generator)
    return maybe(x, recipe.p_codec, lambda x: code_mu_law(x, generator))


def augment_log_mel(
    log_mel: Tensor, recipe: Recipe, frames_per_second: float, generator: Generator
) -> Tensor:
    """Vocal tract, tempo and SpecAugment masks on decibels (batch, n_mels, frames)."""
    x = warp_vocal_tract(log_mel, recipe.vocal_tract, recipe.vocal_tract_bend, generator)
    x = warp_time(x, recipe.tempo, recipe.tempo_bend, generator)
    time_frames = round(recipe.time_mask_seconds * frames_per_second)
    return mask(x, recipe.frequency_mask_bands, time_frames, recipe.masks, generator)


def mixup(
    waveforms: Tensor, targets: Tensor, chance: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix clips (batch, samples) and their target distributions (batch, labels) in pairs.

    The shares are uniform. mixup: arXiv:1710.09412.
    """
    batch = len(waveforms)
    order = torch.randperm(batch, generator=generator, device=waveforms.device)
    share = uniform(batch, (0.0, 1.0), waveforms, generator)
    mixes = torch.rand((batch, 1), generator=generator, device=waveforms.device) < chance
    share = torch.where(mixes, share, torch.ones_like(share))
    mixed = waveforms * share + waveforms[order] * (1 - share)
    return mixed, targets * share + targets[order] * (1 - share)
