"""Decode and measure labelled clips, once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from earful.data.audio.decode import resample
from earful.data.dataset.reader import ClipAudio
from earful.data.dataset.validate import CheckReport, check_labels
from earful.data.errors import missing_package_error
from earful.data.labels.clip import Clip, LabelledClips
from earful.training.data_quality.measure_clip import (
    THUMBNAIL_FEATURES,
    ClipMeasurement,
    measure_clip,
)

if TYPE_CHECKING:
    from earful.training.data_quality.encoder_vectors import ClipEncoder

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class MeasuredDataset:
    """Counts of labelled clips and measurements of the usable ones, without audio.

    ``encoder_missing`` says why there are no encoder vectors in an install without torch.
    """

    report: CheckReport
    measurements: tuple[ClipMeasurement, ...]
    encoder_missing: str = ""


def measure_dataset(
    labelled: LabelledClips, progress: ProgressCallback, *, encode: bool = True
) -> MeasuredDataset:
    """Decode and measure all clips; audio is not kept.

    With ``encode``, each clip gets the vector of the speech encoder, if torch is installed.
    """
    measurements: list[ClipMeasurement] = []
    encoder, encoder_missing = _load_encoder() if encode else (None, "")

    def on_clip(clip: Clip, audio: ClipAudio) -> None:
        measurements.append(measure_clip(clip, audio))
        if encoder is not None:
            rate_hz = THUMBNAIL_FEATURES.sample_rate_hz
            encoder.add(resample(audio.waveform, audio.source_rate_hz, rate_hz))

    report = check_labels(labelled, progress, on_clip)
    if encoder is not None:
        measurements = [
            replace(measurement, encoder_vector=vector)
            for measurement, vector in zip(measurements, encoder.vectors(), strict=True)
        ]
    return MeasuredDataset(report, tuple(measurements), encoder_missing)


def _load_encoder() -> "tuple[ClipEncoder | None, str]":
    """The encoder, or None and why it is missing."""
    try:
        from earful.training.data_quality.encoder_vectors import ClipEncoder  # noqa: PLC0415
    except ModuleNotFoundError as error:
        missing = missing_package_error(error)
        if missing is None:
            raise
        return None, f"labels are compared without the speech encoder: {missing}"
    return ClipEncoder(), ""
