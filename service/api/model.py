"""``earful.load``: a released model as a Python object, which runs ``service.classifier``."""

import math
import numbers
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import read_file, resample
from earful.data.audio.limits import (
    AudioError,
    AudioLimits,
    Waveform,
    check_header,
    check_samples,
)
from earful.data.audio.stream_reader import read_blocks
from earful.data.errors import EarfulError, require_choice, require_number, require_path
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.device import Device
from earful.models.bundle.event_options import BACKGROUND_LABELS, EventOptions
from earful.models.registry.find_model import find_model
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.service.classifier import Classifier, Prediction
from earful.service.events import Event, detect_events

# A path, the bytes of an audio file, or samples.
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[Any]
# An array is in memory already, so its length needs no limit.
_ARRAY_LIMITS = AudioLimits(max_seconds=math.inf)
# Length of the blocks in which decoded audio is passed to the event detector.
_BLOCK_SECONDS = 10


class SourceError(EarfulError, ValueError):
    """A source that is not a path, the bytes of a file, or an array with its sample rate."""


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    registry: str = DEFAULT_REGISTRY,
    device: Device = "cpu",
) -> "Model":
    """Open a released model.

    Args:
        model: a file, or NAME, NAME@NUMBER or NAME@ALIAS of the registry; None is the digit model
            that ships with the package.
        registry: folder or URL of the registry.
        device: "cpu", "cuda", or "auto" for CUDA if it is usable and the CPU otherwise.

    Raises:
        UsageError: an argument of a wrong type, or ``device`` is none of the choices.
        EarfulError: there is no such model, it is damaged, or ``device`` is "cuda" and CUDA is not
            usable.
    """
    require_choice("device", device, get_args(Device))
    name = None if model is None else str(require_path("model", model))
    require_path("registry", registry)
    path = find_model(name, registry)
    return Model(Classifier(open_bundle(path, device)))


class Model:
    """A released model, ready to classify. Safe to call from several threads.

    A source is a path, the bytes of an audio file, or an array (samples,) or (samples, channels)
    with its ``sample_rate`` in Hz. Channels are averaged, and other sample rates are resampled to
    the model's. Float arrays have full scale 1.0, arrays of 8, 16 or 32-bit integers that of their
    type.

    ``classify``, ``events`` and ``embed`` raise ``AudioError`` (an ``EarfulError`` with a stable
    ``code``) for unusable audio, and ``SourceError`` (an ``EarfulError`` and ``ValueError``) for a
    source of another kind.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._rejecting_classifier = Classifier(classifier.bundle, reject=True)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the model's outputs."""
        return self._classifier.labels

    @property
    def sample_rate(self) -> int:
        """The sample rate of the model in Hz."""
        return self._classifier.sample_rate_hz

    def classify(
        self, source: Source, sample_rate: int | None = None, *, reject: bool = False
    ) -> Prediction:
        """One prediction for the source, with ``label``, ``score`` (0 to 1) and ``scores``.

        With ``reject`` the label is "unknown" if the highest score is below the model's rejection
        threshold.
        """
        classifier = self._rejecting_classifier if reject else self._classifier
        return classifier.classify([self._waveform(source, sample_rate)])[0]

    def events(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        min_score: float | None = None,
        background: Collection[str] = BACKGROUND_LABELS,
    ) -> list[Event]:
        """The sounds in the source that score at least ``min_score``, in order of time.

        Without ``min_score`` they score at least the model's rejection threshold. Sounds with a
        label of ``background`` (compared without case) are no events. A file given by its path may
        be of any length.

        Raises:
            UsageError: ``min_score`` is no number from 0 to 1, or ``background`` has what is no
                label of the model.
        """
        if min_score is not None:
            require_number("min_score", min_score, 0, 1)
        options = EventOptions(min_score=min_score, background=background)
        return list(detect_events(self._classifier, self._blocks(source, sample_rate), options))

    def embed(self, source: Source, sample_rate: int | None = None) -> NDArray[np.float32]:
        """The embedding (dim,) of the source; of a long one, that of its best window."""
        waveform = self._waveform(source, sample_rate)
        _, embeddings = self._classifier.embed_windows([self._classifier.best_cut(waveform)])
        return np.asarray(embeddings[0])

    def _waveform(self, source: Source, sample_rate: int | None) -> Waveform:
        """The source as (samples,) float32 at the model's rate."""
        if isinstance(source, str) and not source:
            raise _wrong_source("an empty text")
        if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
            return _from_array(source, sample_rate, self.sample_rate)
        if sample_rate is not None:
            raise SourceError("sample_rate is for arrays; leave it out, as a file states its own")
        blob = read_file(Path(source)) if isinstance(source, str | os.PathLike) else bytes(source)
        return self._classifier.decode(blob).waveform

    def _blocks(self, source: Source, sample_rate: int | None) -> Iterator[Waveform]:
        """The waveform in blocks; a file given by its path is never decoded as a whole."""
        if isinstance(source, str | os.PathLike) and source and sample_rate is None:
            yield from read_blocks(Path(source), self.sample_rate)
            return
        waveform = self._waveform(source, sample_rate)
        size = _BLOCK_SECONDS * self.sample_rate
        yield from (waveform[start : start + size] for start in range(0, len(waveform), size))


def _from_array(source: Any, sample_rate: Any, to_hz: int) -> Waveform:
    """An array of numbers as (samples,) float32 at ``to_hz``."""
    samples = _as_array(source)
    if sample_rate is None:
        raise SourceError("an array needs its rate in Hz: classify(waveform, sample_rate=16_000)")
    if not isinstance(sample_rate, numbers.Real) or not float(sample_rate).is_integer():
        raise SourceError(f"sample_rate is a whole number of Hz, found {sample_rate!r}")
    if samples.size == 0:
        raise AudioError("empty_audio", "the array holds no samples")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > samples.shape[0]):
        raise SourceError(
            f"an array is (samples,) or (samples, channels), found shape {samples.shape}; "
            "transpose (channels, samples)"
        )
    rate_hz = int(float(sample_rate))
    channels = samples.shape[1] if samples.ndim == 2 else 1
    check_header(rate_hz, channels, len(samples), _ARRAY_LIMITS)
    waveform = _to_mono(samples)
    check_samples(waveform)
    return resample(waveform, rate_hz, to_hz)


def _as_array(source: Any) -> NDArray[Any]:
    """An array, a tensor or a sequence of numbers as an array."""
    if isinstance(source, numbers.Number):
        raise _wrong_source(type(source).__name__)
    try:
        samples = np.asarray(source)
    except RuntimeError as error:  # a tensor that requires gradients says what to do
        raise SourceError(str(error).splitlines()[0]) from error
    except (TypeError, ValueError) as error:  # nested lists of different lengths
        raise _wrong_source(type(source).__name__) from error
    if samples.dtype.kind not in "iuf":
        is_array = isinstance(source, np.ndarray) or samples.dtype.kind in "bc"
        of_type = f" of {samples.dtype.name}" if is_array else ""
        raise _wrong_source(type(source).__name__ + of_type)
    return samples


def _wrong_source(found: str) -> SourceError:
    return SourceError(
        f"a source is a path, the bytes of an audio file, or an array of numbers; found {found}"
    )


def _to_mono(samples: NDArray[Any]) -> Waveform:
    """Samples (samples,) or (samples, channels) of a number type as (samples,) float32."""
    # Values beyond float32 become infinite, and are then refused as not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = _to_float32(samples)
        return scaled if scaled.ndim == 1 else scaled.mean(axis=1, dtype=np.float32)


def _to_float32(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples as float32 with full scale 1.0, as libsndfile scales integers."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype.itemsize > 4:
        raise SourceError(
            f"{samples.dtype.name} samples have no known full scale; "
            "pass the original 8, 16 or 32-bit integers, or floats with full scale 1.0"
        )
    info = np.iinfo(samples.dtype)
    middle = 0 if info.min < 0 else (int(info.max) + 1) // 2  # silence in unsigned samples
    full_scale = int(info.max) + 1 - middle
    return ((samples.astype(np.float64) - middle) / full_scale).astype(np.float32)
