"""The frozen ``FeatureConfig`` and the constant matrices of the front end.

Features equal librosa's: ``melspectrogram`` with a periodic Hann window, centred frames and zero
padding, ``power_to_db(ref=1.0, top_db=None)``, and ``mfcc`` by the orthonormal DCT-II of that.
This module needs only numpy, as a server reads the configuration from the model file;
``data.features.frontend`` is the torch module that computes the features.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.errors import EarfulError

# Slaney's mel scale (Auditory Toolbox, 1998; librosa htk=False): linear below 1 kHz, then
# logarithmic with 27 steps per factor of 6.4.
_MEL_LINEAR_HZ = 200.0 / 3
_MEL_BREAK_HZ = 1000.0
_MEL_LOG_STEP = math.log(6.4) / 27.0

Matrix = NDArray[np.float64]

# Configurations are also read from model files; larger values would exhaust the memory.
_MAXIMA = {
    "sample_rate_hz": 192_000,
    "clip_seconds": 120,
    "n_fft": 1 << 15,
    "win_length": 1 << 15,
    "hop_length": 1 << 15,
    "n_mels": 1024,
    "n_mfcc": 1024,
    "f_min_hz": 96_000,
    "f_max_hz": 96_000,
}


class FeatureError(EarfulError):
    """An inconsistent feature configuration; the message names the field and its bound."""


@dataclass(frozen=True)
class FeatureConfig:
    """The settings of the front end, checked on construction.

    ``n_fft``, ``win_length`` and ``hop_length`` are in samples, frequencies in hertz;
    ``clip_seconds`` is the length of one network input.

    Raises:
        FeatureError: inconsistent values (a frequency above Nyquist, an empty mel filter, ...).
    """

    sample_rate_hz: int = 16_000
    clip_seconds: float = 1.0
    n_fft: int = 512
    win_length: int = 512
    hop_length: int = 256
    n_mels: int = 40
    n_mfcc: int = 40
    f_min_hz: float = 20.0
    f_max_hz: float = 8_000.0

    def __post_init__(self) -> None:
        self._check_numbers()
        _require(self.n_fft % 2 == 0, f"n_fft must be even, found {self.n_fft}")
        _require(
            self.win_length <= self.n_fft,
            f"win_length {self.win_length} exceeds n_fft {self.n_fft}",
        )
        _require(
            self.hop_length <= self.win_length,
            f"hop_length {self.hop_length} exceeds win_length {self.win_length}: samples between "
            "windows would be ignored",
        )
        _require(self.n_mfcc <= self.n_mels, f"n_mfcc {self.n_mfcc} exceeds n_mels {self.n_mels}")
        nyquist_hz = self.sample_rate_hz / 2
        _require(
            0 <= self.f_min_hz < self.f_max_hz <= nyquist_hz,
            f"f_min_hz {self.f_min_hz:g} and f_max_hz {self.f_max_hz:g} must satisfy "
            f"0 <= f_min_hz < f_max_hz <= {nyquist_hz:g} (half the sample rate)",
        )
        _require(
            self.clip_samples >= self.win_length,
            f"clip_seconds {self.clip_seconds:g} is {self.clip_samples} samples, shorter than one "
            f"window of {self.win_length}",
        )
        empty = np.flatnonzero(mel_filters(self).max(axis=1) <= 0)
        _require(
            len(empty) == 0,
            f"{len(empty)} of {self.n_mels} mel filters are empty (the first is number "
            f"{empty[0] if len(empty) else 0}): they cover no frequency bin; lower n_mels or raise "
            "n_fft",
        )

    def _check_numbers(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = field.type is int
            is_number = isinstance(value, int) if whole else isinstance(value, int | float)
            _require(
                is_number and not isinstance(value, bool) and math.isfinite(value),
                f"{field.name} must be a {'whole' if whole else 'finite'} number, found {value!r}",
            )
            maximum = _MAXIMA[field.name]
            _require(value <= maximum, f"{field.name} is at most {maximum}, found {value}")
            _require(
                value > 0 or field.name == "f_min_hz",
                f"{field.name} must be above 0, found {value}",
            )

    @property
    def clip_samples(self) -> int:
        return round(self.clip_seconds * self.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Frames of a clip: frames are centred, so one more than the hops that fit."""
        return 1 + self.clip_samples // self.hop_length

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "FeatureConfig":
        """Rebuild a configuration from its JSON object.

        Raises:
            FeatureError: a field is missing or unknown, or a value is invalid.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        given_names = set(values) if isinstance(values, dict) else set()
        _require(
            given_names == names,
            f"a FeatureConfig has the fields {sorted(names)}, found {sorted(given_names)}",
        )
        return cls(**values)

    @classmethod
    def for_rate(cls, sample_rate_hz: int, clip_seconds: float = 1.0) -> "FeatureConfig":
        """The defaults at another rate: windows of 25 to 50 ms (a power of two), hops of half."""
        n_fft = 2 ** max(6, math.ceil(math.log2(0.025 * sample_rate_hz)))
        return cls(
            sample_rate_hz=sample_rate_hz,
            clip_seconds=clip_seconds,
            n_fft=n_fft,
            win_length=n_fft,
            hop_length=n_fft // 2,
            f_max_hz=min(8_000.0, sample_rate_hz / 2),
        )


def mel_filters(config: FeatureConfig) -> Matrix:
    """Triangular filters (n_mels, 1 + n_fft // 2), each of unit area in hertz (Slaney's norm).

    Source: ``librosa.filters.mel(htk=False, norm="slaney")``, the reference in the tests.
    """
    # In numpy because serving checks a model's configuration without librosa. For training too:
    # torchaudio.functional.melscale_fbanks rounds half of an odd rate, at 11,025 Hz 0.014 dB off.
    bins_hz = np.linspace(0, config.sample_rate_hz / 2, 1 + config.n_fft // 2)
    edges_hz = mel_bin_hz(config, np.arange(-1.0, config.n_mels + 1))
    ramps = edges_hz[:, None] - bins_hz[None, :]
    widths = np.diff(edges_hz)[:, None]
    rising, falling = -ramps[:-2] / widths[:-1], ramps[2:] / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area_norm: Matrix = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return triangles * area_norm[:, None]


def mel_bin_hz(config: FeatureConfig, bins: Matrix) -> Matrix:
    """The centre in hertz of mel bins, which may be fractions: of bin 0 the lowest filter's."""
    low, high = _hz_to_mel(config.f_min_hz), _hz_to_mel(config.f_max_hz)
    return _mel_to_hz(low + (high - low) * (bins + 1) / (config.n_mels + 1))


def hann_window(length: int) -> Matrix:
    """The periodic Hann window (length,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def folded_dft(config: FeatureConfig, used_bins: NDArray[np.intp]) -> tuple[Matrix, Matrix]:
    """Windowed DFT bases (win_length // 2, bins) for the even and the odd part of a frame.

    A periodic Hann window is symmetric, w[n] = w[N - n], and a power spectrum does not depend on
    the time origin. With the origin in the middle of the window, a real frame is the sum of an
    even part x[n] + x[N - n], which has only cosine terms, and an odd part x[n] - x[N - n], which
    has only sine terms: half the multiplications of the plain DFT. Row ``i`` is n = i + 1, as
    w[0] = 0. For even N the middle sample pairs with itself and has half the weight.
    """
    n = np.arange(1, config.win_length // 2 + 1)
    window = hann_window(config.win_length)[n]
    window[n * 2 == config.win_length] *= 0.5
    phase = 2 * np.pi / config.n_fft * np.outer(n - config.win_length / 2, used_bins)
    return window[:, None] * np.cos(phase), window[:, None] * np.sin(phase)


def _hz_to_mel(hz: float) -> float:
    if hz < _MEL_BREAK_HZ:
        return hz / _MEL_LINEAR_HZ
    return _MEL_BREAK_HZ / _MEL_LINEAR_HZ + math.log(hz / _MEL_BREAK_HZ) / _MEL_LOG_STEP


def _mel_to_hz(mel: Matrix) -> Matrix:
    break_mel = _MEL_BREAK_HZ / _MEL_LINEAR_HZ
    logarithmic = _MEL_BREAK_HZ * np.exp(_MEL_LOG_STEP * (np.maximum(mel, break_mel) - break_mel))
    return np.where(mel < break_mel, mel * _MEL_LINEAR_HZ, logarithmic)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise FeatureError(message)
