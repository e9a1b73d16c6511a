"""The front end: waveforms to log-mel spectrograms and MFCC in one torch module.

``prepare`` and training run it, and export puts it into the ONNX graph, so training and serving
cannot differ. It uses only gathers and matrix products: ONNX Runtime's STFT and DFT operators are
some hundred times slower and have no CUDA kernel.
"""

import math

import numpy as np
import scipy.fft
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import amplitude_to_DB

from earful.data.features.config import FeatureConfig, folded_dft, mel_filters
from earful.data.features.kinds import FeatureKind

# The floor of librosa.power_to_db: digital silence is -100 dB.
POWER_FLOOR = 1e-10


class Frontend(nn.Module):
    """Waveforms (batch, clip_samples) in [-1, 1] to features (batch, bins, frames).

    In float64 equal to librosa within 1e-3 dB for every signal; librosa's FFT is float64 too
    (``tests/data/features/test_frontend.py``). In float32, the default, that does not hold for mel
    bins some 80 dB below the loudest of their frame (a pure tone): rounding adds up to 0.3 dB.
    """

    def __init__(self, config: FeatureConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype
        filters = mel_filters(config)
        used_bins = np.flatnonzero(filters.any(axis=0))  # all filters are zero at the others
        even_basis, odd_basis = folded_dft(config, used_bins)
        self._register_constant("even_basis", even_basis)
        self._register_constant("odd_basis", odd_basis)
        self._register_constant("mel", filters[:, used_bins].T)
        # torchaudio.functional.create_dct computes in float32: 128 coefficients are 0.002 dB off.
        dct = scipy.fft.dct(np.eye(config.n_mels), norm="ortho", axis=0)[: config.n_mfcc]
        self._register_constant("dct", dct)
        # Frames are gathered as runs of gcd(hop, window) samples: long contiguous copies.
        self.run_length = math.gcd(config.hop_length, config.win_length)
        starts = np.arange(config.frames)[:, None] * (config.hop_length // self.run_length)
        runs = starts + np.arange(config.win_length // self.run_length)
        self.register_buffer("runs", torch.from_numpy(runs.ravel()), persistent=False)

    runs: Tensor
    even_basis: Tensor
    odd_basis: Tensor
    mel: Tensor
    dct: Tensor

    def _register_constant(
        self, name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
    ) -> None:
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(self.dtype)
        self.register_buffer(name, tensor, persistent=False)

    def forward(self, waveform: Tensor, kind: FeatureKind) -> Tensor:
        """Features (batch, bins, frames) of one kind, of waveforms (batch, clip_samples)."""
        log_mel = self.log_mel(waveform)
        return self.mfcc(log_mel) if kind == "mfcc" else log_mel

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Log-mel (batch, n_mels, frames) in dB re full scale 1.0."""
        frames = self._frames(waveform)  # (batch, frames, win_length)
        half = self.config.win_length // 2
        forward = frames[..., 1 : half + 1]
        backward = frames[..., self.config.win_length - half :].flip(-1)
        real = (forward + backward) @ self.even_basis  # (batch, frames, bins)
        imaginary = (forward - backward) @ self.odd_basis
        power = (real * real + imaginary * imaginary) @ self.mel  # (batch, frames, n_mels)
        decibels: Tensor = amplitude_to_DB(power, 10.0, POWER_FLOOR, 0.0)
        return decibels.transpose(1, 2)

    def mfcc(self, log_mel: Tensor) -> Tensor:
        """MFCC (batch, n_mfcc, frames) of log-mel (batch, n_mels, frames) in dB."""
        return self.dct @ log_mel

    def _frames(self, waveform: Tensor) -> Tensor:
        """Overlapping windows (batch, frames, win_length), frame t centred on sample t * hop."""
        config = self.config
        before = config.n_fft // 2 - (config.n_fft - config.win_length) // 2
        needed = (config.frames - 1) * config.hop_length + config.win_length
        after = max(0, needed - before - config.clip_samples)
        n_runs = math.ceil((before + config.clip_samples + after) / self.run_length)
        after = n_runs * self.run_length - before - config.clip_samples
        padded = functional.pad(waveform, (before, after))
        runs = padded.reshape(-1, n_runs, self.run_length)
        return runs.index_select(1, self.runs).reshape(-1, config.frames, config.win_length)
