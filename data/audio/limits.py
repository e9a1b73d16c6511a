"""What audio is accepted, and the error of audio that is not; ``decode`` lists the codes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.containers import declared_bytes
from earful.data.errors import EarfulError

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """An open file: its rate, its samples by its header (None: unknown), and blocks (samples,).

    Blocks are mono, and decoded as they are taken.
    """

    sample_rate_hz: int
    frames: int | None
    blocks: Iterator[Waveform]


# Float audio may slightly exceed full scale (1.0); a hundred times more means other units.
MAX_SAMPLE_MAGNITUDE = 100.0
# libsndfile reports 2**63 - 1 for an unknown length.
UNKNOWN_FRAMES = 1 << 62


class AudioError(EarfulError):
    """Unusable audio; ``code`` is stable, the message is for the user."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class AudioLimits:
    """Limits on accepted audio; the defaults suit local files, a service sets tighter ones."""

    max_bytes: int = 1 << 30
    max_seconds: float = 3600.0
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 192_000
    max_channels: int = 8


FILE_LIMITS = AudioLimits()


def check_bytes(n_bytes: int, limits: AudioLimits) -> None:
    """Raise ``too_large`` for more bytes than the limit."""
    if n_bytes > limits.max_bytes:
        raise AudioError("too_large", f"{n_bytes} bytes; at most {limits.max_bytes} are accepted")


def check_complete(head: bytes, n_bytes: int) -> None:
    """Raise ``truncated`` if the header ``head`` of a file of ``n_bytes`` declares more of them."""
    if declared_bytes(head) > n_bytes:
        raise AudioError(
            "truncated",
            f"the header declares {declared_bytes(head)} bytes, the file has {n_bytes}",
        )


def check_header(rate_hz: int, channels: int, frames: int, limits: AudioLimits) -> None:
    """Raise ``AudioError`` for a rate, channels or a length in samples beyond the limits."""
    if not limits.min_sample_rate_hz <= rate_hz <= limits.max_sample_rate_hz:
        raise AudioError(
            "bad_sample_rate",
            f"the sample rate is {rate_hz} Hz; accepted are "
            f"{limits.min_sample_rate_hz} to {limits.max_sample_rate_hz} Hz",
        )
    check_channels(channels, limits)
    # Without a known length, the decoded blocks are counted.
    if frames < UNKNOWN_FRAMES and frames > limits.max_seconds * rate_hz:
        raise AudioError(
            "too_long", f"{frames / rate_hz:.1f} s; at most {limits.max_seconds:g} s are accepted"
        )


def check_channels(channels: int, limits: AudioLimits) -> None:
    """Raise ``too_many_channels`` for more channels than the limit."""
    if channels > limits.max_channels:
        raise AudioError(
            "too_many_channels", f"{channels} channels; at most {limits.max_channels} are accepted"
        )


def check_samples(samples: Waveform) -> None:
    """Raise ``AudioError`` for samples (samples,), at least one, that are not finite audio."""
    peak = float(max(samples.max(), -samples.min()))  # NaN stays NaN, infinity infinite
    if not np.isfinite(peak):
        raise AudioError("not_finite", "contains NaN or infinite samples; write the file again")
    if peak > MAX_SAMPLE_MAGNITUDE:
        raise AudioError(
            "out_of_range",
            f"samples reach {peak:.3g}, full scale is 1.0; scale them to -1 .. 1",
        )
