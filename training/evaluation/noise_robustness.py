"""Noise robustness of a released model: accuracy over SNR for each noise type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from earful.data.audio.decode import AudioError, Waveform, decode, read_file
from earful.data.audio.windows import pad_to_clip
from earful.data.augmentation.noise import hum, impulse_noise, mix_at_snr, power_law_noise, rms
from earful.data.errors import EarfulError
from earful.data.labels.multilabel import normalise_label, split_labels
from earful.service.batch.inputs import find_inputs
from earful.service.classifier import Classifier

SNR_DB = (20.0, 15.0, 10.0, 5.0, 0.0)
BABBLE_VOICES = 4
SEED = 42
# Coloured noise: power falls with 1/f to this exponent.
COLOR_EXPONENTS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
HUM, IMPULSES, BABBLE, RECORDED = "hum", "impulses", "babble", "recorded"
NOISE_KINDS = (*COLOR_EXPONENTS, HUM, IMPULSES, BABBLE)
IMPULSE_SHARE = (0.1, 0.3)  # of all samples


class NoiseError(EarfulError):
    """Noise that cannot be read or mixed."""


@dataclass(frozen=True)
class LabelledWaveform:
    """A clip to mix with noise: waveform (samples,) at the model's rate, label, speaker."""

    waveform: Waveform
    label: str
    speaker: str


@dataclass(frozen=True)
class NoisePoint:
    """Accuracy on all clips with one noise type at one SNR."""

    kind: str
    snr_db: float
    clips: int
    accuracy: float


def measure_noise_robustness(
    classifier: Classifier,
    clips: Sequence[LabelledWaveform],
    recordings: Sequence[Waveform] = (),
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[NoisePoint]:
    """Accuracy on clips mixed with each noise type at 20 to 0 dB SNR; deterministic.

    The SNR uses the clip's level where it is active; the noise fills the whole window. ``babble``
    is four clips of other speakers at once, or of other labels where speakers are unknown.
    ``recordings``, each (samples,) at the model's rate, add the type ``recorded``.

    Raises:
        NoiseError: there are no clips of other speakers for babble.
    """
    mixer = _NoiseMixer(clips, recordings, classifier)
    kinds = (*NOISE_KINDS, RECORDED) if recordings else NOISE_KINDS
    points = []
    for done, (kind, snr_db) in enumerate(product(kinds, SNR_DB), 1):
        noisy = (mixer.noisy(n, kind, snr_db) for n in range(len(clips)))
        predictions = classifier.classify_stream(noisy)
        n_correct = sum(
            normalise_label(prediction.label) == clip.label
            for prediction, clip in zip(predictions, clips, strict=True)
        )
        points.append(NoisePoint(kind, snr_db, len(clips), n_correct / len(clips)))
        progress(done, len(kinds) * len(SNR_DB))
    return points


def noise_table(points: Sequence[NoisePoint]) -> str:
    """Accuracy in percent: one row per noise type, one column per SNR."""
    lines = ["SNR     " + "".join(f"{snr_db:>6.0f} dB" for snr_db in SNR_DB)]
    for kind, row in points_by_kind(points):
        lines.append(f"{kind:<8}" + "".join(f"{100 * point.accuracy:>9.1f}" for point in row))
    return "\n".join(lines)


def points_by_kind(points: Sequence[NoisePoint]) -> list[tuple[str, list[NoisePoint]]]:
    """The points of each noise type, in the order of the test."""
    kinds = dict.fromkeys(point.kind for point in points)
    return [(kind, [point for point in points if point.kind == kind]) for kind in kinds]


def read_noise_recordings(folder: Path, sample_rate_hz: int) -> list[Waveform]:
    """All recordings of a folder at the model's sample rate, each (samples,).

    Raises:
        NoiseError: a file cannot be decoded or is silent, or there is none.
    """
    recordings = []
    for path in (Path(item.location) for item in find_inputs([str(folder)])):
        try:
            waveform = decode(read_file(path), sample_rate_hz).waveform
        except AudioError as error:
            raise NoiseError(
                f"the noise file {path} cannot be used: {error} [{error.code}]"
            ) from error
        if not np.any(waveform):
            raise NoiseError(f"the noise file {path} is silent; remove it from the folder")
        recordings.append(waveform)
    if not recordings:
        raise NoiseError(f"no audio file in the noise folder {folder}")
    return recordings


class _NoiseMixer:
    """Mixes clips with noise that depends only on the clip's index and the noise type."""

    def __init__(
        self,
        clips: Sequence[LabelledWaveform],
        recordings: Sequence[Waveform],
        classifier: Classifier,
    ) -> None:
        self._clips, self._recordings = clips, recordings
        self._rate_hz = classifier.sample_rate_hz
        self._clip_samples = classifier.metadata.features.clip_samples
        self._pools: dict[tuple[str, str], list[int]] = {}

    def noisy(self, n: int, kind: str, snr_db: float) -> Waveform:
        """Clip ``n`` with noise, zero-padded to the model's window where it is shorter."""
        waveform = self._clips[n].waveform
        if len(waveform) < self._clip_samples:
            waveform = pad_to_clip(waveform, self._clip_samples)
        clean = torch.from_numpy(waveform)[None]
        mixed = mix_at_snr(clean, self._noise(n, kind, clean), torch.tensor([[snr_db]]))
        return np.asarray(mixed[0].numpy(), np.float32)

    def _noise(self, n: int, kind: str, like: Tensor) -> Tensor:
        seed = [SEED, [*NOISE_KINDS, RECORDED].index(kind), n]
        rng = np.random.default_rng(seed)
        generator = Generator().manual_seed(int(rng.integers(2**62)))
        if kind in COLOR_EXPONENTS:
            return power_law_noise(like, torch.tensor([[COLOR_EXPONENTS[kind]]]), generator)
        if kind == HUM:
            return hum(like, self._rate_hz, generator)
        if kind == IMPULSES:
            return impulse_noise(like, IMPULSE_SHARE, generator)
        if kind == BABBLE:
            voices = [self._clips[i].waveform for i in self._other_speaker_clips(n, rng)]
        else:
            voices = [self._recordings[int(rng.integers(len(self._recordings)))]]
        return sum((_loop_to_length(voice, like, rng) for voice in voices), torch.zeros_like(like))

    def _other_speaker_clips(self, n: int, rng: np.random.Generator) -> Sequence[int]:
        """Random clips of other speakers than that of clip ``n``, or of other labels."""
        own = self._clips[n]
        key = ("speaker", own.speaker) if own.speaker else ("label", own.label)
        if key not in self._pools:
            self._pools[key] = [
                i for i, other in enumerate(self._clips) if _is_other_speaker(own, other)
            ]
        pool = self._pools[key]
        if not pool:
            raise NoiseError(
                "babble needs clips of other speakers, found one speaker; evaluate on clips of "
                "two or more speakers"
            )
        return [int(i) for i in rng.choice(pool, BABBLE_VOICES)]


def _is_other_speaker(own: LabelledWaveform, other: LabelledWaveform) -> bool:
    """Whether a clip has another speaker or, without a known one, no label in common."""
    if own.speaker:
        return other.speaker != own.speaker
    return set(split_labels(own.label)).isdisjoint(split_labels(other.label))


def _loop_to_length(waveform: Waveform, like: Tensor, rng: np.random.Generator) -> Tensor:
    """A recording from a random start, looped to the length of ``like``, at RMS 1: (1, samples)."""
    rolled = np.roll(waveform, int(rng.integers(len(waveform))))
    sound = torch.from_numpy(np.resize(rolled, like.shape[1]))[None]
    return sound / rms(sound).clamp_min(1e-9)
