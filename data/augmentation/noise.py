"""Synthetic noise, and mixing it with speech at a given SNR: (batch, samples) in and out.

Pure functions of tensors and a ``torch.Generator`` on their device. Random values are drawn per
clip, except the time offset of babble, which is drawn per batch.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torchaudio.functional
from torch import Generator, Tensor

from earful.data.augmentation.device_copy import copy_to_device
from earful.data.augmentation.sampling import (
    FloatRange,
    decibels_to_factor,
    normal,
    rand_like,
    uniform,
)

# Share of the noisy clips; a single voice and hum have a tenth each.
MAX_BABBLE_SHARE = 0.8
# Samples below this share of a clip's peak, before and after its word, are silence. A word is at
# least this share of a clip, so that looping a click does not make a tone.
_PAUSE_THRESHOLD, _MIN_WORD_SHARE = 0.01, 0.05
_EPSILON = 1e-9


def add_noise(
    waveforms: Tensor,
    babble: Tensor,
    babble_share: float,
    snr_db: FloatRange,
    sample_rate_hz: int,
    generator: Generator,
) -> Tensor:
    """Add babble, one other voice, hum or coloured noise at a random SNR: (batch, samples).

    The SNR is ``speech_rms`` of the clip to the RMS of the noise. ``babble_share`` (at most
    ``MAX_BABBLE_SHARE``) of the clips are mixed with four clips of ``babble`` (clips, samples), a
    tenth with one, a tenth with mains hum, and the rest with coloured noise.
    """
    speech = loop_speech(babble)
    kinds = (
        (babble_share, lambda like: mix_babble(speech, len(like), 4, generator)),
        (0.1, lambda like: mix_babble(speech, len(like), 1, generator)),
        (0.1, lambda like: hum(like, sample_rate_hz, generator)),
        (MAX_BABBLE_SHARE - babble_share, lambda like: coloured_noise(like, generator)),
    )
    snr = uniform(len(waveforms), snr_db, waveforms, generator)
    return mix_at_snr(waveforms, _sample_per_clip(kinds, waveforms, generator), snr)


def synthetic_background(
    like: Tensor, babble: Tensor, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """Background without a word (batch, samples), from digital silence to loud noise.

    A third each is coloured noise, babble of eight clips of ``babble`` (clips, samples), and hum
    with hiss. Levels are uniform from -90 to -6 dB; a tenth of the clips are silent.
    """
    batch = len(like)
    kinds = (
        (1 / 3, lambda like: _normalise_rms(coloured_noise(like, generator))),
        (1 / 3, lambda like: mix_babble(loop_speech(babble), len(like), 8, generator) / 8**0.5),
        (
            1 / 3,
            lambda like: (
                hum(like, sample_rate_hz, generator)
                + 0.1 * _normalise_rms(coloured_noise(like, generator))
            ),
        ),
    )
    gain = decibels_to_factor(uniform(batch, (-90.0, -6.0), like, generator))
    audible = torch.rand((batch, 1), generator=generator, device=like.device) > 0.1
    return _sample_per_clip(kinds, like, generator) * gain * audible


def _sample_per_clip(
    kinds: Sequence[tuple[float, Callable[[Tensor], Tensor]]], like: Tensor, generator: Generator
) -> Tensor:
    """One kind of sound for each clip of ``like`` (batch, samples), drawn by their shares."""
    shares = copy_to_device(torch.tensor([share for share, _ in kinds]), like.device)
    chosen = torch.multinomial(shares, len(like), replacement=True, generator=generator)
    sound = torch.empty_like(like)
    for number, (_, synthesize) in enumerate(kinds):
        rows = (chosen == number).nonzero().squeeze(1)
        if len(rows):
            sound[rows] = synthesize(like[rows])
    return sound


def mix_at_snr(waveforms: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Waveforms plus noise (batch, samples) at an SNR (batch, 1) in dB.

    The level of a waveform is its ``speech_rms``. Silent noise changes nothing.
    """
    # torchaudio's SNR is of the whole clip, and pauses around the word lower its level.
    pauses_db = _level_db(rms(waveforms)) - _level_db(speech_rms(waveforms))
    mixed = torchaudio.functional.add_noise(waveforms, noise, (snr_db + pauses_db).squeeze(1))
    return torch.where(rms(noise) > 0, mixed, waveforms)


def _level_db(amplitude: Tensor) -> Tensor:
    level: Tensor = torchaudio.functional.amplitude_to_DB(amplitude, 20.0, _EPSILON, 0.0)
    return level


def rms(waveforms: Tensor) -> Tensor:
    """RMS (batch, 1)."""
    return waveforms.square().mean(1, keepdim=True).sqrt()


def speech_rms(waveforms: Tensor) -> Tensor:
    """RMS (batch, 1) of the blocks of 1/20 clip that are within 20 dB of the loudest block."""
    batch, samples = waveforms.shape
    size = samples // 20
    energy = waveforms[:, : size * 20].reshape(batch, 20, size).square().mean(2)
    loud = (energy >= energy.amax(1, keepdim=True) * 1e-2).to(energy.dtype)
    return ((energy * loud).sum(1, keepdim=True) / loud.sum(1, keepdim=True)).sqrt()


def coloured_noise(like: Tensor, generator: Generator) -> Tensor:
    """Noise (batch, samples) with power 1/f**a, a uniform from 0 (white) to 2 (brown)."""
    return power_law_noise(like, uniform(len(like), (0.0, 2.0), like, generator), generator)


def power_law_noise(like: Tensor, exponents: Tensor, generator: Generator) -> Tensor:
    """Noise (batch, samples) with power 1/f**a for the exponents a (batch, 1).

    0 is white, 1 pink, 2 brown.
    """
    batch, samples = like.shape
    spectrum = torch.fft.rfft(normal((batch, samples), like, generator))
    bins = torch.arange(spectrum.shape[1], device=like.device, dtype=like.dtype).clamp_min(4)
    noise: Tensor = torch.fft.irfft(spectrum * bins.pow(-exponents / 2), samples)
    return noise


def mix_babble(speech: Tensor, batch: int, voices: int, generator: Generator) -> Tensor:
    """Sums (batch, samples) of ``voices`` random clips of ``speech`` (clips, samples).

    Its clips are those of ``loop_speech``, and are rolled in time. A clip occurs at most once per
    sum if there are enough clips.
    """
    clips, samples = speech.shape
    mixed = speech.new_zeros(batch, samples)
    first = torch.randint(clips, (batch,), generator=generator, device=speech.device)
    # All at once, since a GPU has to finish before they are numbers of Python.
    rolls = torch.randint(samples, (voices,), generator=generator, device=speech.device).tolist()
    for number, roll in enumerate(rolls):
        mixed += speech[(first + number) % clips].roll(roll, dims=1)
    return mixed


def loop_speech(clips: Tensor) -> Tensor:
    """Clips (clips, samples) filled with their word, over and over, at an RMS of 1."""
    samples = clips.shape[1]
    loud = (clips.abs() > _PAUSE_THRESHOLD * clips.abs().amax(1, keepdim=True)).byte()
    # The first maximum; of a silent clip, any part will do.
    first = loud.argmax(1, keepdim=True)
    length = samples - loud.flip(1).argmax(1, keepdim=True) - first
    length = length.clamp_min(round(_MIN_WORD_SHARE * samples))
    # In 32 bits: integers of 64 bits take three times as long to divide.
    offset = torch.arange(samples, device=clips.device, dtype=torch.int32) % length.int()
    position = (first.int() + offset).clamp_max(samples - 1).long()
    return _normalise_rms(clips.gather(1, position))


def _normalise_rms(waveforms: Tensor) -> Tensor:
    return waveforms / (rms(waveforms) + _EPSILON)


def hum(like: Tensor, sample_rate_hz: int, generator: Generator) -> Tensor:
    """Mains hum (batch, samples): 50 or 60 Hz and five harmonics of decreasing amplitude."""
    batch, samples = like.shape
    time = torch.arange(samples, device=like.device, dtype=like.dtype) / sample_rate_hz
    coin = torch.rand((batch, 1), generator=generator, device=like.device)
    base_hz = 50.0 + 10.0 * (coin < 0.5).to(like.dtype)
    total = torch.zeros_like(like)
    for harmonic in range(1, 7):
        phase = uniform(batch, (0, 2 * math.pi), like, generator)
        strength = uniform(batch, (0.2, 1.0), like, generator) / harmonic
        total = total + strength * torch.sin(2 * math.pi * harmonic * base_hz * time + phase)
    return total


def impulse_noise(like: Tensor, share: FloatRange, generator: Generator) -> Tensor:
    """Spikes of random amplitude at a random share of the samples (batch, samples), else zero."""
    spike_share = uniform(len(like), share, like, generator)
    is_spike = rand_like(like, generator) < spike_share
    return (2 * rand_like(like, generator) - 1) * is_spike


def add_impulses(waveforms: Tensor, share: FloatRange, generator: Generator) -> Tensor:
    """Replace a share of the samples (batch, samples) with spikes up to the clip's peak."""
    spike_share = uniform(len(waveforms), share, waveforms, generator)
    is_spike = rand_like(waveforms, generator) < spike_share
    peak = waveforms.abs().amax(1, keepdim=True)
    spikes = (2 * rand_like(waveforms, generator) - 1) * peak
    return torch.where(is_spike, spikes, waveforms)
