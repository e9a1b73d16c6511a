"""``earful.load``: a released model as a Python object, over the one inference path."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import (
    FILE_LIMITS,
    AudioError,
    Waveform,
    check_header,
    check_samples,
    read_file,
    resample,
)
from earful.data.audio.stream_reader import read_blocks
from earful.data.errors import EarfulError
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.device import Device
from earful.models.registry.catalogue import DEFAULT_ROOT
from earful.models.registry.find_model import find_model
from earful.service.classifier import Classifier, Prediction
from earful.service.events import Event, detect_events

# What can be classified: a path, a file's bytes, or samples.
Source = str | os.PathLike[str] | bytes | NDArray[Any]
# Blocks in which an array goes to the event detector.
_BLOCK_SECONDS = 10


class SourceError(EarfulError, ValueError):
    """Something that is neither a file, nor a file's bytes, nor an array with its rate."""


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    registry: str = DEFAULT_ROOT,
    device: Device = "cpu",
) -> "Model":
    """Open a released model.

    Args:
        model: a file, or NAME, NAME@VERSION or NAME@ALIAS of the registry; None is the digit model
            that ships with the package.
        registry: folder or URL of released models.
        device: "cpu", "cuda", or "auto" for CUDA if there is one.

    Raises:
        EarfulError: there is no such model, or it is damaged.
    """
    path = find_model(None if model is None else os.fspath(model), registry)
    return Model(Classifier(open_bundle(path, device)))


class Model:
    """A released model, ready to classify. Safe to call from several threads.

    A source is a path, the bytes of an audio file, or a float or integer array (samples,) or
    (samples, channels) with its ``sample_rate`` in Hz. Channels are averaged, and other rates than
    the model's are resampled. Floats have full scale 1.0, integers that of their type.

    Every method raises ``AudioError`` (an ``EarfulError`` with a stable ``code``) for audio that
    cannot be used, and ``SourceError`` (a ``ValueError``) for a source of another kind.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        rejecting = Classifier(classifier.bundle, reject=True)
        self._by_reject = {False: classifier, True: rejecting}

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the model's outputs."""
        return self._classifier.labels

    @property
    def sample_rate(self) -> int:
        """The rate in Hz that sources are resampled to."""
        return self._classifier.sample_rate_hz

    def classify(
        self, source: Source, sample_rate: int | None = None, *, reject: bool = False
    ) -> Prediction:
        """One answer for the whole source: ``label``, ``score`` (0 to 1) and ``scores``.

        With ``reject`` the label is "unknown" where the score is below the model's threshold.
        """
        return self._by_reject[reject].classify([self._waveform(source, sample_rate)])[0]

    def events(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        min_score: float = 0.5,
    ) -> list[Event]:
        """What sounds when: events of at least ``min_score``, in order of time."""
        return list(
            detect_events(self._classifier, self._blocks(source, sample_rate), min_score=min_score)
        )

    def embed(self, source: Source, sample_rate: int | None = None) -> NDArray[np.float32]:
        """The embedding (dim,) of the source; of a long one that of its loudest clip."""
        waveform = self._waveform(source, sample_rate)
        start = self._classifier.starts(waveform)[-1]
        return self._classifier.embed_windows([(waveform, start)])[0]

    def _waveform(self, source: Source, sample_rate: int | None) -> Waveform:
        """(samples,) float32 at the model's rate."""
        if isinstance(source, (str, os.PathLike)):
            source = read_file(Path(source))
        if not isinstance(source, bytes):
            return _from_array(source, sample_rate, self.sample_rate)
        if sample_rate is not None:
            raise SourceError("sample_rate goes with an array; a file says its own")
        return self._classifier.decode(source).waveform

    def _blocks(self, source: Source, sample_rate: int | None) -> Iterator[Waveform]:
        """The waveform in pieces; a file is decoded as it is read, in little memory."""
        if isinstance(source, (str, os.PathLike)) and sample_rate is None:
            yield from read_blocks(Path(source), self.sample_rate)
            return
        waveform = self._waveform(source, sample_rate)
        size = _BLOCK_SECONDS * self.sample_rate
        yield from (waveform[start : start + size] for start in range(0, len(waveform), size))


def _from_array(source: Any, sample_rate: int | None, to_hz: int) -> Waveform:
    """An array of any number type to (samples,) float32 at ``to_hz``."""
    samples = np.asarray(source)
    if samples.dtype.kind not in "iuf":
        raise SourceError(
            f"a source is a path, the bytes of an audio file, or an array; found {type(source).__name__}"
        )
    if sample_rate is None:
        raise SourceError("an array needs its rate in Hz: classify(waveform, sample_rate=16_000)")
    if samples.size == 0:
        raise AudioError("empty_audio", "the array holds no samples")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > samples.shape[0]):
        raise SourceError(
            f"an array is (samples,) or (samples, channels), found shape {samples.shape}"
        )
    channels = samples.shape[1] if samples.ndim == 2 else 1
    check_header(int(sample_rate), channels, len(samples), FILE_LIMITS)
    mono = _to_float(samples)
    mono = mono if mono.ndim == 1 else mono.mean(axis=1, dtype=np.float32)
    check_samples(mono)
    return resample(mono, int(sample_rate), to_hz)


def _to_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    info = np.iinfo(samples.dtype)
    middle = 0 if info.min < 0 else (int(info.max) + 1) // 2  # unsigned: half way up is silence
    full_scale = int(info.max) + 1 - middle
    return ((samples.astype(np.float64) - middle) / full_scale).astype(np.float32)
