"""Length, rate and windows from the files: what is chosen, said, and never torn apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from earful.data.dataset.clip_plan import plan_clips
from earful.data.dataset.dataset import DatasetError, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.dataset.validate import check_labels
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.recording_splits import assign_recording_splits
from earful.data.labels.splits import SplitError

RATE_HZ = 8_000
WriteClips = Callable[..., list[Clip]]


@pytest.fixture
def write_clips(write_wav: Callable[..., Path]) -> WriteClips:
    """``write_clips(lengths)`` writes a recording of noise for each, of two labels in turn."""

    def write(lengths: list[float], rate_hz: int = RATE_HZ, label: str = "") -> list[Clip]:
        clips = []
        for n, seconds in enumerate(lengths):
            samples = np.random.default_rng(n).uniform(-0.3, 0.3, round(seconds * rate_hz))
            path = write_wav(f"{n}.wav", samples, rate_hz)
            clips.append(Clip(n + 2, path.name, path, label or f"l{n % 2}"))
        return clips

    return write


def labelled(clips: list[Clip]) -> LabelledClips:
    return LabelledClips(tuple(clips), (), frozenset({"filename", "label"}))


def test_short_words_are_clips_of_a_second(write_clips: WriteClips) -> None:
    plan = plan_clips(write_clips([0.3, 0.5, 0.7, 1.0]))
    assert (plan.clip_seconds, plan.sample_rate_hz, plan.windowed) == (1.0, RATE_HZ, False)
    assert plan.reason == (
        "clips of 1 s at 8000 Hz: all recordings fit (median 0.6 s); files are 8000 Hz"
    )


def test_what_does_not_fit_is_counted(write_clips: WriteClips) -> None:
    plan = plan_clips(write_clips([2.0] * 29 + [7.0]))
    assert plan.clip_seconds == 2.0
    assert plan.reason.startswith("clips of 2 s at 8000 Hz: 97 % of the recordings fit (median 2.0")


def test_labelled_times_count_as_lengths(write_clips: WriteClips) -> None:
    [clip] = write_clips([60.0])
    segments = [
        Clip(
            n, clip.filename, clip.path, f"l{n % 2}", start_seconds=3.0 * n, end_seconds=3.0 * n + 3
        )
        for n in range(20)
    ]
    plan = plan_clips(segments)
    assert (plan.clip_seconds, plan.clips) == (3.0, tuple(segments))
    assert "all clips fit" in plan.reason


def test_long_recordings_become_windows_with_their_times(write_clips: WriteClips) -> None:
    plan = plan_clips(write_clips([30.0, 12.6, 4.0, 30.0]))
    assert (plan.clip_seconds, plan.windowed) == (5.0, True)
    times = [(clip.line, clip.start_seconds, clip.end_seconds) for clip in plan.clips]
    assert times[:6] == [(2, 5.0 * n, 5.0 * n + 5) for n in range(6)]
    assert times[6:10] == [(3, 0.0, 5.0), (3, 5.0, 10.0), (3, 10.0, 12.6), (4, None, None)]
    assert len(times) == 16
    assert plan.reason == (
        "windows of 5 s at 8000 Hz: 25 % of the recordings fit in 10 s (median 21.3 s), so 4 "
        "recordings give 16 clips, at most 60 each, and accuracy counts clips; files are 8000 Hz"
    )


def test_what_is_given_is_not_chosen(write_clips: WriteClips) -> None:
    clips = write_clips([30.0, 30.0], 44_100)
    both = plan_clips(clips, 2.0, 22_050)
    assert (both.clips, both.clip_seconds, both.sample_rate_hz) == (tuple(clips), 2.0, 22_050)
    assert both.reason == ""
    length = plan_clips(clips, clip_seconds=2.0)
    assert (length.clips, length.sample_rate_hz) == (tuple(clips), 16_000)
    assert length.reason == (
        "16000 Hz: files are 44100 Hz; --sample-rate 32000 --f-max 16000 keeps more"
    )
    rate = plan_clips(clips, sample_rate_hz=22_050)
    assert (rate.windowed, rate.sample_rate_hz) == (True, 22_050)
    assert "files are" not in rate.reason


def test_telephone_recordings_stored_at_a_higher_rate_stay_at_8_khz(
    write_wav: Callable[..., Path],
) -> None:
    generator = np.random.default_rng(1)
    clips = []
    for n in range(4):
        narrow = generator.uniform(-0.3, 0.3, 6_000).astype(np.float32)
        path = write_wav(f"{n}.wav", soxr.resample(narrow, 8_000, 44_100), 44_100)
        clips.append(Clip(n + 2, path.name, path, f"l{n % 2}"))
    plan = plan_clips(clips)
    assert plan.sample_rate_hz == 8_000
    assert "files are 44100 Hz and hold no sound above 4" in plan.reason


def test_unreadable_files_do_not_decide(write_clips: WriteClips, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    bad = Clip(9, "text.wav", tmp_path / "text.wav", "l0")
    assert plan_clips([*write_clips([4.0] * 4), bad]).clip_seconds == 4.0
    assert plan_clips([bad]).reason == (
        "clips of 1 s at 16000 Hz: no length could be read; no rate could be read"
    )


@pytest.mark.slow
def test_all_windows_of_a_recording_are_in_one_part(
    write_clips: WriteClips, tmp_path: Path
) -> None:
    prepared = prepare(labelled(write_clips([20.0] * 20)), tmp_path / "out", split="random")
    clips = open_dataset(tmp_path / "out").clips
    assert (len(clips), prepared.features.clip_seconds) == (80, 5.0)
    assert (clips.groupby("filename")["split"].nunique() == 1).all()
    assert set(clips["split"]) == {"train", "val", "test"}
    assert prepared.leaked_test_clips == 0
    assert prepared.notes()[0].startswith("windows of 5 s at 8000 Hz")
    assert clips["start"].tolist()[:4] == [0.0, 5.0, 10.0, 15.0]


def test_a_recording_of_several_labels_is_not_torn_apart() -> None:
    clips = [
        Clip(2, f"{n}.wav", Path(f"{n}.wav"), label, start_seconds=start, end_seconds=start + 5)
        for n in range(24)
        for label, start in ((f"l{n % 3}", 0.0), (f"l{n % 2}", 5.0))
    ]
    splits = assign_recording_splits(clips, "random")
    assert splits[::2] == splits[1::2]
    assert set(splits) == {"train", "val", "test"}


def test_a_label_of_one_recording_is_refused(write_clips: WriteClips, tmp_path: Path) -> None:
    clips = write_clips([20.0] * 9)
    lonely = [Clip(2, "0.wav", clips[0].path, "once"), *clips[1:]]
    with pytest.raises(SplitError, match=r"single clip.*'once'"):
        prepare(labelled(lonely), tmp_path / "out", split="random")


def test_a_broken_long_recording_is_listed_once(write_clips: WriteClips, tmp_path: Path) -> None:
    clips = write_clips([20.0] * 9)
    broken = np.full(20 * RATE_HZ, np.nan, np.float32)
    soundfile.write(clips[4].path, broken, RATE_HZ, subtype="FLOAT")
    with pytest.raises(DatasetError, match="1 row cannot be used") as error:
        prepare(labelled(clips), tmp_path / "out", split="random")
    assert str(error.value).count("4.wav") == 1


def test_check_says_what_prepare_would_choose(write_clips: WriteClips, tmp_path: Path) -> None:
    rows = [f"{clip.filename},{clip.label}" for clip in write_clips([4.0] * 4)]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *rows]))
    report = check_labels(read_labels(tmp_path / "labels.csv"), lambda done, total: None)
    assert report.notes == (
        "prepare would write clips of 4 s at 8000 Hz: all recordings fit (median 4.0 s); files are "
        "8000 Hz",
    )
