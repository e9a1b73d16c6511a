"""The labels of the model as wake words: what a satellite asks, and what it is told."""

from collections.abc import Sequence

import numpy as np
from wyoming.audio import AudioFormat
from wyoming.info import Attribution, Info, WakeModel, WakeProgram
from wyoming.wake import Detection

from earful.data.audio.decode import AudioLimits, Waveform
from earful.data.labels.multilabel import split_labels
from earful.service.core.errors import RequestError, malformed
from earful.service.events import Event
from earful.service.inference.hot_reload import LoadedModel

_SAMPLE_BYTES, _MAX_CHANNELS = 2, 2
_ATTRIBUTION = Attribution(name="Earful", url="")


def describe(loaded_model: LoadedModel) -> Info:
    """What Home Assistant shows: one program, whose wake words are the labels."""
    version = loaded_model.info["version"]
    models = [
        WakeModel(
            name=label,
            attribution=_ATTRIBUTION,
            installed=True,
            description=f"the sound {label}",
            version=version,
            languages=[],
            phrase=label,
        )
        for label in loaded_model.classifier.labels
    ]
    program = WakeProgram(
        name="earful",
        attribution=_ATTRIBUTION,
        installed=True,
        description=f"Earful, {loaded_model.info['name']}",
        version=version,
        models=models,
    )
    return Info(wake=[program])


def wanted_labels(names: Sequence[str] | None, labels: Sequence[str]) -> frozenset[str]:
    """The labels that a satellite waits for; all of them without names.

    Raises:
        RequestError: a name is none of the labels.
    """
    unknown = [name for name in names or () if name not in labels]
    if unknown:
        raise malformed(
            f"{unknown[0]!r:.80} is no label of this model; it has {', '.join(labels)}",
        )
    return frozenset(names or labels)


def to_detections(event: Event, wanted: frozenset[str]) -> list[Detection]:
    """A message for each wanted label of an event, with the time of its end in milliseconds."""
    names = [name for name in split_labels(event.label) if name in wanted]
    return [Detection(name=name, timestamp=round(1000 * event.end)) for name in names]


def check_format(audio: AudioFormat, limits: AudioLimits) -> None:
    """Check the format of a stream.

    Raises:
        RequestError: ``malformed_request`` or ``bad_sample_rate``.
    """
    if audio.width != _SAMPLE_BYTES or not 1 <= audio.channels <= _MAX_CHANNELS:
        raise malformed(
            f"audio must have 2 bytes a sample and 1 or 2 channels, found {audio.width} and "
            f"{audio.channels}",
        )
    low, high = limits.min_sample_rate_hz, limits.max_sample_rate_hz
    if not low <= audio.rate <= high:
        raise RequestError("bad_sample_rate", f"the rate must be from {low} to {high}")


def to_waveform(audio: bytes, channels: int) -> Waveform:
    """16-bit samples as the mean of their channels (samples,), float32.

    Raises:
        RequestError: the bytes are no whole number of samples.
    """
    if len(audio) % (_SAMPLE_BYTES * channels):
        raise malformed("audio ends within a sample")
    samples = np.frombuffer(audio, "<i2").astype(np.float32) / np.float32(32768)
    waveform: Waveform = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return waveform
