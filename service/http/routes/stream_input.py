"""What a client of ``WS /v1/stream`` sends: a first message with options, then frames, then an end.

Whatever is wrong is a ``RequestError``: ``malformed_request`` unless stated otherwise.
"""

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, field_validator

from earful.data.audio.decode import MAX_SAMPLE_MAGNITUDE, AudioLimits, Waveform
from earful.data.text.json_input import STRICT, check, read_json
from earful.models.bundle.event_options import EventOptions
from earful.service.core.errors import RequestError, malformed
from earful.service.core.settings import MAX_FRAME_BYTES

# Of each encoding the type of a sample, and the factor that makes full scale 1.
_ENCODINGS = {"pcm_s16le": ("<i2", 1 / 32768), "pcm_f32le": ("<f4", 1.0)}


class StreamOptions(BaseModel):
    """What a client may set.

    sample_rate_hz   rate of the audio
    encoding         of a sample, ``pcm_s16le`` or ``pcm_f32le``
    hop_seconds      time between results
    min_score        lowest score of an event; None: the model's own
    min_gap_seconds  shortest distance between the starts of two events
    smoothing_hops   windows of a sound, over which the scores of its event are averaged
    """

    model_config = STRICT

    sample_rate_hz: int
    encoding: Literal["pcm_s16le", "pcm_f32le"] = "pcm_s16le"
    hop_seconds: float = Field(0.1, ge=0.02, le=1)
    min_score: float | None = Field(None, ge=0, le=1)
    min_gap_seconds: float = Field(EventOptions.min_gap_seconds, ge=0, le=60)
    smoothing_hops: int = Field(EventOptions.n_windows, ge=1, le=100)

    @field_validator("min_score")
    @classmethod
    def _require_number(cls, given: float | None) -> float:
        if given is None:
            raise ValueError("null is no score; leave it out for the model's own")
        return given

    def for_events(self) -> EventOptions:
        return EventOptions(
            min_score=self.min_score,
            min_gap_seconds=self.min_gap_seconds,
            n_windows=self.smoothing_hops,
        )


def parse_first_message(message: str | bytes) -> tuple[str | None, dict[str, Any]]:
    """The API key, if there is one, and the options, not checked yet."""
    if isinstance(message, bytes):
        raise malformed('the first message must be text: {"sample_rate_hz": ..., "encoding": ...}')
    values = _json_object(message)
    key = values.pop("api_key", None)
    return None if key is None else str(key), values


def parse_options(values: dict[str, Any], limits: AudioLimits) -> StreamOptions:
    """The options of a first message; a rate beyond the limits is a ``bad_sample_rate``."""
    rate_hz = values.get("sample_rate_hz")
    low, high = limits.min_sample_rate_hz, limits.max_sample_rate_hz
    if type(rate_hz) is not int or not low <= rate_hz <= high:
        raise RequestError(
            "bad_sample_rate", f"sample_rate_hz must be a whole number from {low} to {high}"
        )
    try:
        return check(StreamOptions, values)
    except ValueError as error:
        raise malformed(str(error)) from error


def decode_message(message: str | bytes, encoding: str) -> Waveform | None:
    """The samples (samples,) of a frame as float32; None for the message that ends the stream.

    Frames may also be ``too_large``, ``not_finite`` or ``out_of_range``.
    """
    if isinstance(message, bytes):
        return _decode_frame(message, encoding)
    if _json_object(message).get("type") != "end":
        raise malformed('text after the first message can only be {"type": "end"}')
    return None


def _decode_frame(frame: bytes, encoding: str) -> Waveform:
    if len(frame) > MAX_FRAME_BYTES:
        raise RequestError("too_large", f"a frame has at most {MAX_FRAME_BYTES} bytes")
    kind, scale = _ENCODINGS[encoding]
    width = np.dtype(kind).itemsize
    if len(frame) % width:
        raise malformed(
            f"a frame of {len(frame)} bytes is no multiple of the {width} bytes of a sample"
        )
    samples = np.frombuffer(frame, kind).astype(np.float32) * np.float32(scale)
    peak = np.abs(samples).max(initial=0)
    if not np.isfinite(peak):
        raise RequestError("not_finite", "samples must be finite")
    if peak > MAX_SAMPLE_MAGNITUDE:
        raise RequestError("out_of_range", f"samples reach {peak:.3g}, full scale is 1.0")
    return samples


def _json_object(text: str) -> dict[str, Any]:
    try:
        return check(dict[str, Any], read_json(text))
    except ValueError as error:
        raise malformed(f"text messages are JSON objects: {error}") from error
