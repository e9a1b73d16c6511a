"""Augmentation of waveforms and log-mel features, whole batches at a time on the training device.

Every function is pure: (batch, ...) tensors and a ``torch.Generator`` of their device in, a new
tensor out, the same for the same seed. Each clip draws its own parameters. ``Recipe`` says how
strong everything is; ``augment_waveforms`` and ``augment_log_mel`` apply it in order.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Range = tuple[float, float]
_EPSILON = 1e-9
MU = 255.0  # of the mu-law companding of G.711


@dataclass(frozen=True)
class Recipe:
    """How strongly and how often clips are changed.

    ``p_*`` are chances per clip, ranges are uniform. Decibels are of amplitude. The defaults are
    set for short words from unknown voices and microphones.
    """

    speed: Range = (0.85, 1.2)
    shift_seconds: float = 0.12
    gain_db: Range = (-15.0, 6.0)
    p_equalise: float = 0.5
    equaliser_db: float = 8.0
    p_band_limit: float = 0.15
    p_reverberate: float = 0.2
    reverberation_seconds: Range = (0.05, 0.3)
    p_noise: float = 0.5
    snr_db: Range = (2.0, 30.0)
    p_impulses: float = 0.03
    impulse_share: Range = (0.01, 0.3)
    p_codec: float = 0.1
    p_clipping: float = 0.05
    vocal_tract: Range = (0.88, 1.14)
    frequency_mask_bands: int = 6
    time_mask_seconds: float = 0.1
    masks: int = 1
    p_mixup: float = 0.0


UNCHANGED = Recipe(
    speed=(1.0, 1.0), shift_seconds=0.0, gain_db=(0.0, 0.0), p_equalise=0.0, p_band_limit=0.0,
    p_reverberate=0.0, p_noise=0.0, p_impulses=0.0, p_codec=0.0, p_clipping=0.0,
    vocal_tract=(1.0, 1.0), frequency_mask_bands=0, time_mask_seconds=0.0, masks=0,
)  # fmt: skip


def augment_waveforms(
    waveforms: Tensor, babble: Tensor, recipe: Recipe, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """All waveform steps in the order in which sound meets them: voice, room, noise, microphone.

    ``waveforms`` and ``babble`` are (batch, samples); ``babble`` holds speech of others to be mixed
    in as background.
    """
    x = change_speed(waveforms, recipe.speed, generator)
    x = shift_time(x, round(recipe.shift_seconds * sample_rate_hz), generator)
    x = reverberate(
        x, recipe.reverberation_seconds, recipe.p_reverberate, sample_rate_hz, generator
    )
    x = add_noise(x, babble, recipe.snr_db, recipe.p_noise, sample_rate_hz, generator)
    x = add_impulses(x, recipe.impulse_share, recipe.p_impulses, generator)
    x = equalise(x, recipe.equaliser_db, recipe.p_equalise, generator)
    x = limit_band(x, recipe.p_band_limit, sample_rate_hz, generator)
    x = clip_peaks(x, recipe.p_clipping, generator)
    x = change_gain(x, recipe.gain_db, generator)
    return code_mu_law(x, recipe.p_codec, generator)


def augment_log_mel(
    log_mel: Tensor, recipe: Recipe, frames_per_second: float, generator: Generator
) -> Tensor:
    """Vocal tract length and SpecAugment masks on decibels (batch, n_mels, frames)."""
    x = warp_vocal_tract(log_mel, recipe.vocal_tract, generator)
    time_frames = round(recipe.time_mask_seconds * frames_per_second)
    return mask(x, recipe.frequency_mask_bands, time_frames, recipe.masks, generator)


def change_speed(waveforms: Tensor, factors: Range, generator: Generator) -> Tensor:
    """Play each clip (batch, samples) faster or slower about its middle: tempo, pitch and formants.

    Cubic interpolation (Catmull-Rom). Speed perturbation: Ko et al., Interspeech 2015.
    """
    batch, samples = waveforms.shape
    factor = _log_uniform(batch, factors, waveforms, generator)
    middle = (samples - 1) / 2
    time = torch.arange(samples, device=waveforms.device, dtype=waveforms.dtype)
    position = middle + (time - middle) * factor  # (batch, samples)
    whole = position.floor()
    t = position - whole
    index = whole.long()
    before, here, after, beyond = (
        _sample_at(waveforms, index + offset) for offset in (-1, 0, 1, 2)
    )
    slope_here, slope_after = (after - before) / 2, (beyond - here) / 2
    cubic = 2 * (here - after) + slope_here + slope_after
    square = 3 * (after - here) - 2 * slope_here - slope_after
    return ((cubic * t + square) * t + slope_here) * t + here


def shift_time(waveforms: Tensor, most_samples: int, generator: Generator) -> Tensor:
    """Move each clip (batch, samples) by up to ``most_samples`` either way; silence comes in."""
    batch, samples = waveforms.shape
    shift = (_uniform(batch, (-1, 1), waveforms, generator) * most_samples).long()
    index = torch.arange(samples, device=waveforms.device) - shift
    return _sample_at(waveforms, index)


def change_gain(waveforms: Tensor, decibels: Range, generator: Generator) -> Tensor:
    """Make each clip (batch, samples) louder or softer."""
    return waveforms * _db(_uniform(len(waveforms), decibels, waveforms, generator))


def equalise(waveforms: Tensor, decibels: float, chance: float, generator: Generator) -> Tensor:
    """A random smooth frequency response, as of another microphone: (batch, samples).

    Eight points evenly spaced over the band, up to ``decibels`` up or down, joined by lines.
    """
    batch, samples = waveforms.shape
    points = _uniform(batch * 8, (-decibels, decibels), waveforms, generator).reshape(batch, 1, 8)
    bins = samples // 2 + 1
    curve = torch.nn.functional.interpolate(points, bins, mode="linear", align_corners=True)[:, 0]
    changed = torch.fft.irfft(torch.fft.rfft(waveforms) * _db(curve), samples)
    return _sometimes(waveforms, changed, chance, generator)


def limit_band(
    waveforms: Tensor, chance: float, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """Cut lows below 50 to 500 Hz and highs above 35 to 100 % of the band, as telephones do."""
    batch, samples = waveforms.shape
    hz = torch.fft.rfftfreq(samples, 1 / sample_rate_hz, device=waveforms.device)
    low = _log_uniform(batch, (50.0, 500.0), waveforms, generator)
    nyquist = sample_rate_hz / 2
    high = _uniform(batch, (0.35 * nyquist, nyquist), waveforms, generator)
    response = torch.sigmoid((hz - low) / 30) * torch.sigmoid((high - hz) / 60)
    changed = torch.fft.irfft(torch.fft.rfft(waveforms) * response, samples)
    return _sometimes(waveforms, changed, chance, generator)


def reverberate(
    waveforms: Tensor, seconds: Range, chance: float, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """A room: each clip convolved with noise that decays by 60 dB in ``seconds``.

    The direct sound keeps half of the energy or more. Model of diffuse reverberation: Polack, 1988.
    """
    batch, samples = waveforms.shape
    length = min(samples, round(seconds[1] * sample_rate_hz))
    time = torch.arange(length, device=waveforms.device) / sample_rate_hz
    decay = math.log(1000) / _uniform(batch, seconds, waveforms, generator)
    tail = _normal((batch, length), waveforms, generator) * torch.exp(-decay * time)
    tail = tail / (tail.square().sum(1, keepdim=True).sqrt() + _EPSILON)
    response = tail * _db(_uniform(batch, (-20.0, 0.0), waveforms, generator))
    response[:, 0] = 1.0
    size = samples + length
    spectrum = torch.fft.rfft(waveforms, size) * torch.fft.rfft(response, size)
    changed = torch.fft.irfft(spectrum, size)[:, :samples]
    return _sometimes(waveforms, changed, chance, generator)


def add_noise(
    waveforms: Tensor,
    babble: Tensor,
    snr_db: Range,
    chance: float,
    sample_rate_hz: int,
    generator: Generator,
) -> Tensor:
    """Background at a drawn signal-to-noise ratio: coloured noise, babble or mains hum.

    The ratio is of the clip's energy where it sounds (its loudest half) to that of the noise.
    Babble is the sum of four clips of ``babble`` (batch, samples), rolled at random.
    """
    batch = len(waveforms)
    kinds = torch.stack(
        [
            coloured_noise(waveforms, generator),
            mix_babble(babble, 4, generator),
            mix_babble(babble, 1, generator),
            hum(waveforms, sample_rate_hz, generator),
        ]
    )
    chosen = torch.multinomial(
        torch.tensor([0.5, 0.3, 0.1, 0.1], device=waveforms.device),
        batch, replacement=True, generator=generator,
    )  # fmt: skip
    noise = kinds[chosen, torch.arange(batch, device=waveforms.device)]
    ratio = _uniform(batch, snr_db, waveforms, generator)
    return _sometimes(waveforms, mix_at_snr(waveforms, noise, ratio), chance, generator)


def mix_at_snr(waveforms: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Waveforms plus noise (batch, samples) at ratios (batch, 1) of speech level to noise level."""
    gain = speech_level(waveforms) / (level(noise) + _EPSILON) * _db(-snr_db)
    return waveforms + noise * gain


def level(waveforms: Tensor) -> Tensor:
    """Root mean square (batch, 1)."""
    return waveforms.square().mean(1, keepdim=True).sqrt()


def speech_level(waveforms: Tensor) -> Tensor:
    """Root mean square (batch, 1) over the blocks of 20th of a clip within 20 dB of the loudest."""
    batch, samples = waveforms.shape
    size = samples // 20
    energy = waveforms[:, : size * 20].reshape(batch, 20, size).square().mean(2)
    loud = (energy >= energy.amax(1, keepdim=True) * 1e-2).to(energy.dtype)
    return ((energy * loud).sum(1, keepdim=True) / loud.sum(1, keepdim=True)).sqrt()


def coloured_noise(like: Tensor, generator: Generator) -> Tensor:
    """Noise (batch, samples) whose power falls as 1/f to the power of 0 (white) to 2 (brown)."""
    batch, samples = like.shape
    spectrum = torch.fft.rfft(_normal((batch, samples), like, generator))
    bins = torch.arange(spectrum.shape[1], device=like.device, dtype=like.dtype).clamp_min(4)
    slope = _uniform(batch, (0.0, 1.0), like, generator)
    noise: Tensor = torch.fft.irfft(spectrum * bins.pow(-slope), samples)
    return noise


def mix_babble(babble: Tensor, voices: int, generator: Generator) -> Tensor:
    """``voices`` clips (batch, samples) of ``babble``, drawn and rolled at random, as one sound."""
    batch, samples = babble.shape
    mixed = torch.zeros_like(babble)
    for _ in range(voices):
        order = torch.randperm(batch, generator=generator, device=babble.device)
        roll = int(torch.randint(samples, (1,), generator=generator, device=babble.device))
        voice = babble[order]
        mixed = mixed + (voice / (level(voice) + _EPSILON)).roll(roll, dims=1)
    return mixed


def hum(like: Tensor, sample_rate_hz: int, generator: Generator) -> Tensor:
    """Mains hum (batch, samples): 50 or 60 Hz and five harmonics of falling strength."""
    batch, samples = like.shape
    time = torch.arange(samples, device=like.device, dtype=like.dtype) / sample_rate_hz
    pick = torch.rand((batch, 1), generator=generator, device=like.device)
    base_hz = 50.0 + 10.0 * (pick < 0.5).to(like.dtype)
    total = torch.zeros_like(like)
    for harmonic in range(1, 7):
        phase = _uniform(batch, (0, 2 * math.pi), like, generator)
        strength = _uniform(batch, (0.2, 1.0), like, generator) / harmonic
        total = total + strength * torch.sin(2 * math.pi * harmonic * base_hz * time + phase)
    return total


def add_impulses(waveforms: Tensor, share: Range, chance: float, generator: Generator) -> Tensor:
    """Replace a share of all samples by spikes up to the clip's peak, as a broken line does."""
    batch = len(waveforms)
    wanted = _uniform(batch, share, waveforms, generator)
    struck = _rand_like(waveforms, generator) < wanted
    peak = waveforms.abs().amax(1, keepdim=True)
    spikes = (2 * _rand_like(waveforms, generator) - 1) * peak
    return _sometimes(waveforms, torch.where(struck, spikes, waveforms), chance, generator)


def clip_peaks(waveforms: Tensor, chance: float, generator: Generator) -> Tensor:
    """Overdrive: cut each clip (batch, samples) at 10 to 70 % of its peak."""
    share = _uniform(len(waveforms), (0.1, 0.7), waveforms, generator)
    bound = waveforms.abs().amax(1, keepdim=True) * share
    changed = torch.maximum(torch.minimum(waveforms, bound), -bound)
    return _sometimes(waveforms, changed, chance, generator)


def code_mu_law(waveforms: Tensor, chance: float, generator: Generator) -> Tensor:
    """The quantisation of a telephone codec: mu-law in 4 to 8 bits (G.711 has 8)."""
    bits = _uniform(len(waveforms), (4.0, 8.99), waveforms, generator).floor()
    steps = 2 ** (bits - 1)
    x = waveforms.clamp(-1, 1)
    compressed = x.sign() * torch.log1p(MU * x.abs()) / math.log1p(MU)
    coarse = (compressed * steps).round() / steps
    changed = coarse.sign() * torch.expm1(coarse.abs() * math.log1p(MU)) / MU
    return _sometimes(waveforms, changed, chance, generator)


def warp_vocal_tract(log_mel: Tensor, factors: Range, generator: Generator) -> Tensor:
    """Stretch the mel axis of (batch, n_mels, frames) as a longer or shorter vocal tract would.

    VTLP: Jaitly and Hinton, ICML workshop 2013, here linear in mel and between neighbouring bands.
    """
    batch, bands, _ = log_mel.shape
    factor = _log_uniform(batch, factors, log_mel, generator)
    position = torch.arange(bands, device=log_mel.device, dtype=log_mel.dtype) * factor
    position = position.clamp(0, bands - 1)
    low = position.floor().long()
    share = (position - low).unsqueeze(2)  # (batch, n_mels, 1)
    high = (low + 1).clamp_max(bands - 1)
    rows = torch.arange(batch, device=log_mel.device).unsqueeze(1)
    return log_mel[rows, low] * (1 - share) + log_mel[rows, high] * share


def mask(
    features: Tensor, most_bands: int, most_frames: int, count: int, generator: Generator
) -> Tensor:
    """SpecAugment (arXiv:1904.08779, section 2): ``count`` masks an axis, at the mean."""
    batch, bands, frames = features.shape
    hidden = torch.zeros_like(features, dtype=torch.bool)
    for size, most, axis in ((bands, most_bands, 1), (frames, most_frames, 2)):
        place = torch.arange(size, device=features.device)
        for _ in range(count):
            width = _uniform(batch, (0, most), features, generator)
            start = _uniform(batch, (0, 1), features, generator) * (size - width)
            covered = (place >= start) & (place < start + width)  # (batch, size)
            hidden = hidden | covered.unsqueeze(3 - axis)
    return torch.where(hidden, features.mean(dim=(1, 2), keepdim=True), features)


def mixup(
    waveforms: Tensor, targets: Tensor, chance: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix clips (batch, samples) and their target distributions (batch, labels) in pairs.

    The shares are uniform. mixup: arXiv:1710.09412.
    """
    batch = len(waveforms)
    order = torch.randperm(batch, generator=generator, device=waveforms.device)
    share = _uniform(batch, (0.0, 1.0), waveforms, generator)
    mixes = torch.rand((batch, 1), generator=generator, device=waveforms.device) < chance
    share = torch.where(mixes, share, torch.ones_like(share))
    mixed = waveforms * share + waveforms[order] * (1 - share)
    return mixed, targets * share + targets[order] * (1 - share)


def _sample_at(waveforms: Tensor, index: Tensor) -> Tensor:
    """Values (batch, samples) at whole positions; silence outside the clip."""
    inside = (index >= 0) & (index < waveforms.shape[1])
    return waveforms.gather(1, index.clamp(0, waveforms.shape[1] - 1)) * inside


def _sometimes(before: Tensor, after: Tensor, chance: float, generator: Generator) -> Tensor:
    drawn = torch.rand((len(before), 1), generator=generator, device=before.device) < chance
    return torch.where(drawn, after, before)


def _uniform(batch: int, bounds: Range, like: Tensor, generator: Generator) -> Tensor:
    """A number per clip (batch, 1)."""
    drawn = torch.rand((batch, 1), generator=generator, device=like.device, dtype=like.dtype)
    return bounds[0] + (bounds[1] - bounds[0]) * drawn


def _log_uniform(batch: int, bounds: Range, like: Tensor, generator: Generator) -> Tensor:
    return _uniform(batch, (math.log(bounds[0]), math.log(bounds[1])), like, generator).exp()


def _normal(shape: tuple[int, int], like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


def _rand_like(like: Tensor, generator: Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _db(decibels: Tensor) -> Tensor:
    """Amplitude factor."""
    return torch.pow(10.0, decibels / 20)
