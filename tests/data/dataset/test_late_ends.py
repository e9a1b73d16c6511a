"""A last window that reaches beyond its recording is used up to its end, and said once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from earful.data.audio.decode import AudioError
from earful.data.audio.stream_reader import read_blocks, read_segment
from earful.data.dataset.dataset import DatasetError, open_dataset
from earful.data.dataset.late_ends import describe_late_ends, find_late_end, up_to_end
from earful.data.dataset.prepare import prepare
from earful.data.dataset.reader import ClipAudio, read_clips
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import Clip, LabelledClips

RATE_HZ = 8_000
FEATURES = FeatureConfig.for_rate(RATE_HZ, 3.0)


def windows(path: Path, tolerance: float = 3.0) -> list[Clip]:
    """Windows of 3 s of a recording of 10 s, the last of which reaches beyond it."""
    return [
        Clip(
            2 + n,
            path.name,
            path,
            f"l{n % 2}",
            start_seconds=3.0 * n,
            end_seconds=3.0 * n + 3,
            end_tolerance_seconds=tolerance,
        )
        for n in range(4)
    ]


@pytest.fixture
def recordings(write_wav: Callable[..., Path]) -> list[Path]:
    ramps = [np.linspace(-0.9, 0.9 - 0.1 * n, 10 * RATE_HZ) for n in range(3)]
    return [write_wav(f"E{n}.wav", ramp, subtype="FLOAT") for n, ramp in enumerate(ramps)]


def labelled(clips: list[Clip]) -> LabelledClips:
    return LabelledClips(tuple(clips), (), frozenset({"filename", "label", "start", "end"}))


def test_last_windows_are_padded_kept_with_their_true_end_and_said_once(
    recordings: list[Path], tmp_path: Path
) -> None:
    clips = [clip for path in recordings for clip in windows(path)]
    prepared = prepare(labelled(clips), tmp_path / "out", features=FEATURES, split="random")
    opened = open_dataset(tmp_path / "out")
    assert opened.clips["end"].tolist() == [3.0, 6.0, 9.0, 10.0] * 3
    assert opened.clips["seconds"].tolist() == [3.0, 3.0, 3.0, 1.0] * 3
    last = opened.array("waveforms")[3]
    np.testing.assert_array_equal(np.flatnonzero(last), np.arange(RATE_HZ, 2 * RATE_HZ))
    assert prepared.notes()[0] == (
        "3 rows end after their recording and were used up to its end (the first: line 5, E0.wav, "
        "9 to 12 s of 10 s)"
    )


def test_an_end_beyond_the_tolerance_is_refused(recordings: list[Path], tmp_path: Path) -> None:
    mistyped = windows(recordings[0], tolerance=0.01)
    with pytest.raises(DatasetError, match=r"line 5, E0.wav: ends at 12 s, the audio at 10.000 s"):
        prepare(labelled(mistyped), tmp_path / "out", features=FEATURES)


def test_a_start_beyond_the_recording_is_refused_with_any_tolerance(
    recordings: list[Path],
) -> None:
    clip = Clip(
        9,
        "E0.wav",
        recordings[0],
        "a",
        start_seconds=10.5,
        end_seconds=12.0,
        end_tolerance_seconds=3.0,
    )
    [(_, audio)] = read_clips([clip], RATE_HZ)
    assert isinstance(audio, AudioError)
    assert audio.code == "bad_segment"


def test_a_stream_gives_the_same_samples(recordings: list[Path]) -> None:
    [*_, (_, audio)] = read_clips(windows(recordings[0]), RATE_HZ)
    assert isinstance(audio, ClipAudio)

    def blocks() -> Iterator[np.ndarray]:
        return read_blocks(recordings[0], RATE_HZ)

    np.testing.assert_array_equal(read_segment(blocks, RATE_HZ, 9.0, 12.0, 3.0), audio.waveform)
    with pytest.raises(AudioError, match="not entirely inside"):
        read_segment(blocks, RATE_HZ, 9.0, 12.0)


def test_rounding_is_not_reported_and_one_row_is_named() -> None:
    window = windows(Path("a.wav"))[3]
    assert find_late_end(window, 2.995) is None
    assert up_to_end(window, 2.995) is window
    late = find_late_end(window, 1.0)
    assert late is not None
    assert up_to_end(window, 1.0).end_seconds == 10.0
    assert describe_late_ends([late]) == [
        "1 row ends after its recording and was used up to its end (line 5, a.wav, 9 to 12 s of "
        "10 s)"
    ]
