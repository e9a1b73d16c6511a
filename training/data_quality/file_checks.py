"""Checks of readable clips: silence, clipping, outlier durations, DC offset, sample rates.

silent   peak below -70 dBFS (ten steps of 16 bits)
clipped  0.5 % or more of the samples at the extreme value
short    under 50 ms, or under a quarter of the median duration
long     over four times the median duration

Durations relative to the median are reported only if they are also more than three interquartile
ranges of the log durations away from the quartiles.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from earful.data.labels.multilabel import split_labels
from earful.training.data_quality.finding import Finding, format_clip_count, make_finding
from earful.training.data_quality.measure_clip import ClipMeasurement

SILENT_PEAK = 10 ** (-70 / 20)
CLIPPED_SHARE = 0.005
MIN_CLIP_SECONDS = 0.05
OUTLIER_RATIO = 4.0
OUTLIER_IQRS = 3.0
# With fewer clips, durations are not compared with the median.
_MIN_CLIPS_FOR_OUTLIERS = 20
MAX_DC_OFFSET = 0.02
# A rate reveals a label if nearly all of its clips have it and few other clips do.
_LABEL_RATE_SHARE, _MAX_SHARE_ELSEWHERE, _MIN_LABEL_CLIPS = 0.9, 0.1, 5
_SILENCE_LABEL_PATTERN = re.compile(
    r"silen|quiet|noise|background|nothing|none|empty", re.IGNORECASE
)


def check_files(measurements: Sequence[ClipMeasurement]) -> list[Finding]:
    """All findings on the audio and the sample rates of clips."""
    checks = (
        _silence_findings,
        _clipping_findings,
        _duration_findings,
        _dc_offset_findings,
        _sample_rate_findings,
    )
    return [finding for check in checks for finding in check(measurements)]


def is_silent(measurement: ClipMeasurement) -> bool:
    """Whether the peak is below -70 dBFS."""
    return measurement.peak < SILENT_PEAK


def _silence_findings(measurements: Sequence[ClipMeasurement]) -> Iterator[Finding]:
    clips = Counter(measurement.clip.label for measurement in measurements)
    silent = [measurement for measurement in measurements if is_silent(measurement)]
    counts = Counter(measurement.clip.label for measurement in silent)
    for measurement in silent:
        if not _is_silence_label(measurement.clip.label, counts[measurement.clip.label], clips):
            level = f"peak {20 * np.log10(max(measurement.peak, 1e-5)):.0f} dBFS"
            message = level if measurement.peak > 0 else "digital silence"
            yield make_finding("silent", message, measurement.clip)


def _is_silence_label(label: str, silent: int, clips: Counter[str]) -> bool:
    """Whether the name means silence, or half of the label's clips (three or more) are silent."""
    return bool(_SILENCE_LABEL_PATTERN.search(label)) or (
        silent >= 3 and 2 * silent >= clips[label]
    )


def _clipping_findings(measurements: Sequence[ClipMeasurement]) -> Iterator[Finding]:
    for measurement in measurements:
        if measurement.clipped_share >= CLIPPED_SHARE and not is_silent(measurement):
            share = 100 * measurement.clipped_share
            message = f"{share:.1f} % of its samples are at the extreme value"
            yield make_finding("clipped", message, measurement.clip)


def _duration_findings(measurements: Sequence[ClipMeasurement]) -> Iterator[Finding]:
    low, high, median = _duration_bounds(measurements)
    for measurement in measurements:
        seconds, clip = measurement.seconds, measurement.clip
        beside_median = f"{seconds:.2f} s; the median is {median:.2f} s"
        if seconds < MIN_CLIP_SECONDS:
            shortest = f"the minimum is {1000 * MIN_CLIP_SECONDS:.0f} ms"
            yield make_finding("short_clip", f"{1000 * seconds:.0f} ms; {shortest}", clip)
        elif seconds < low:
            yield make_finding("short_clip", beside_median, clip)
        elif seconds > high:
            yield make_finding("long_clip", beside_median, clip)


def _duration_bounds(measurements: Sequence[ClipMeasurement]) -> tuple[float, float, float]:
    """Lower and upper bound of normal durations, and the median, in seconds."""
    if len(measurements) < _MIN_CLIPS_FOR_OUTLIERS:
        return 0.0, float("inf"), 0.0
    logs = np.log([measurement.seconds for measurement in measurements])
    first, median, third = np.percentile(logs, [25, 50, 75])
    low = min(first - OUTLIER_IQRS * (third - first), median - np.log(OUTLIER_RATIO))
    high = max(third + OUTLIER_IQRS * (third - first), median + np.log(OUTLIER_RATIO))
    return float(np.exp(low)), float(np.exp(high)), float(np.exp(median))


def _dc_offset_findings(measurements: Sequence[ClipMeasurement]) -> Iterator[Finding]:
    for measurement in measurements:
        if abs(measurement.dc_offset) > MAX_DC_OFFSET:
            message = f"its mean is {measurement.dc_offset:+.3f} of full scale"
            yield make_finding("dc_offset", message, measurement.clip)


def _sample_rate_findings(measurements: Sequence[ClipMeasurement]) -> Iterator[Finding]:
    rates = Counter(measurement.rate_hz for measurement in measurements)
    if len(rates) < 2:
        return
    by_label: dict[str, Counter[int]] = {}
    for measurement in measurements:
        for label in split_labels(measurement.clip.label):
            by_label.setdefault(label, Counter())[measurement.rate_hz] += 1
    for label, label_rates in by_label.items():
        (rate, n), total = label_rates.most_common(1)[0], label_rates.total()
        n_others = len(measurements) - total
        is_dominant = total >= _MIN_LABEL_CLIPS and n >= _LABEL_RATE_SHARE * total
        if is_dominant and rates[rate] - n < _MAX_SHARE_ELSEWHERE * n_others:
            yield make_finding(
                "sample_rate_leak",
                f"{n} of {format_clip_count(total)} of {label!r} have {rate} Hz, but only "
                f"{rates[rate] - n} of {n_others} others",
                label=label,
            )
    rate_counts = ", ".join(
        f"{format_clip_count(n)} of {rate} Hz" for rate, n in rates.most_common()
    )
    yield make_finding("mixed_rates", rate_counts)
