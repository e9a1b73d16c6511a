"""``earful evaluate --events``: labelled events of recordings, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.annotations.audacity import track_line
from earful.data.errors import EarfulError
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.api.model import load
from earful.training.evaluation.event_metrics import SoundEvent, match_events, within_collar
from tests.training.commands.conftest import RunCommand
from tests.training.conftest import RATE_HZ

MODEL = SHIPPED_MODELS["digits-small"]  # the faster one


@pytest.fixture(scope="module")
def talk(spoken_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with talk.wav, twenty digits with pauses, and its events as CSV and as track."""
    folder = tmp_path_factory.mktemp("talk")
    clips = sorted((spoken_digits.parent / "clips").iterdir())[:20]
    pause = np.zeros(round(0.7 * RATE_HZ))
    rows, lines, parts, at = ["filename,label,start,end"], [], [pause], 0.7
    for path in clips:
        sound, rate_hz = soundfile.read(path)
        assert rate_hz == RATE_HZ
        end = at + len(sound) / RATE_HZ
        label = digit_of(path, spoken_digits)
        rows.append(f"talk.wav,{label},{at:.6f},{end:.6f}")
        lines.append(track_line(at, end, label))
        parts += [sound, pause]
        at = end + 0.7
    soundfile.write(folder / "talk.wav", np.concatenate(parts), RATE_HZ)
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    (folder / "talk.txt").write_text("".join(lines))
    return folder


def digit_of(clip: Path, labels_csv: Path) -> str:
    rows = (line.split(",") for line in labels_csv.read_text().splitlines()[1:])
    return next(row[1] for row in rows if Path(row[0]).name == clip.name)


@pytest.mark.slow
def test_events_of_a_csv_and_of_a_track_are_matched_with_those_of_the_detector(
    earful: RunCommand, talk: Path, tmp_path: Path
) -> None:
    command = ("evaluate", MODEL, talk / "events.csv", "--events")
    measured = json.loads(earful(*command, "--json", "--out", tmp_path / "report").stdout)
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text()) == measured
    track = earful("evaluate", MODEL, talk / "talk.txt", "--events", "--json")
    assert json.loads(track.stdout) == measured

    found = load_events(talk / "talk.wav")
    true = [
        SoundEvent(float(start), float(end), label)
        for _, label, start, end in (
            row.split(",") for row in (talk / "events.csv").read_text().splitlines()[1:]
        )
    ]
    pairs = match_events(true, found, within_collar(0.2))
    overall = measured["overall"]
    assert (overall["true"], overall["found"], overall["matched"]) == (20, len(found), len(pairs))
    assert overall["recall"] == len(pairs) / 20 > 0.5
    errors = [abs(true[i].start_seconds - found[j].start_seconds) for i, j in pairs]
    assert overall["median_start_error_seconds"] == pytest.approx(np.median(errors))
    hours = soundfile.info(talk / "talk.wav").duration / 3600
    assert measured["hours"] == pytest.approx(hours)
    per_hour = (len(found) - len(pairs)) / hours
    assert overall["false_alarms_per_hour"] == pytest.approx(per_hour)
    assert sum(row["true"] for row in measured["per_label"].values()) == 20
    assert measured["hits"]["matched"] >= overall["matched"]

    text = earful(*command, "--by", "label").stdout
    assert f"20 events in 1 recording of {hours:.3g} hours, {len(found)} found" in text
    assert "tolerance: starts 200 ms; ends 200 ms or 20 % of the length" in text
    assert text.count("  label ") == len(measured["per_label"])
    assert max(map(len, text.splitlines())) <= 80


def load_events(path: Path) -> list[SoundEvent]:
    events = load(MODEL).events(path)
    return [SoundEvent(event.start, event.end, event.label) for event in events]


@pytest.mark.slow
def test_rows_of_background_are_no_events(earful: RunCommand, talk: Path, tmp_path: Path) -> None:
    rows = (talk / "events.csv").read_text() + "talk.wav,Silence,0,0.6\ntalk.wav,noise,0.1,0.5\n"
    (tmp_path / "events.csv").write_text(rows)
    command = ("evaluate", MODEL, tmp_path / "events.csv", "--events", "--audio-dir", talk)
    assert "left out: 2 rows whose label means background" in earful(*command).stdout
    measured = json.loads(earful(*command, "--json").stdout)
    assert (measured["background"], measured["overall"]["true"]) == (2, 20)


@pytest.mark.slow
def test_the_collar_decides_what_matches(earful: RunCommand, talk: Path) -> None:
    command = ("evaluate", MODEL, talk / "talk.txt", "--events", "--json")
    counts = [
        json.loads(earful(*command, "--collar", seconds).stdout) for seconds in (0.001, 0.2, 5)
    ]
    matched = [count["overall"]["matched"] for count in counts]
    assert matched[0] < matched[1] <= matched[2]
    assert [count["hits"] for count in counts] == [counts[0]["hits"]] * 3


@pytest.mark.slow
def test_recordings_without_events_count_for_false_alarms(
    earful: RunCommand, talk: Path, tmp_path: Path
) -> None:
    (tmp_path / "events.csv").write_text("filename,label,start,end\ntalk.wav,,,\n")
    arguments = ("--events", "--json", "--audio-dir", talk)
    measured = json.loads(earful("evaluate", MODEL, tmp_path / "events.csv", *arguments).stdout)
    found = load_events(talk / "talk.wav")
    assert measured["overall"]["recall"] is None
    assert measured["overall"]["precision"] == 0
    assert measured["overall"]["false_alarms"] == len(found) > 0
    (tmp_path / "talk.txt").write_text("")
    track = earful("evaluate", MODEL, tmp_path / "talk.txt", *arguments)
    assert json.loads(track.stdout) == measured


@pytest.mark.slow
def test_what_cannot_be_used_is_listed_and_the_rest_is_measured(
    earful: RunCommand, talk: Path
) -> None:
    lines = (talk / "events.csv").read_text().splitlines()
    (talk / "broken.wav").write_text("no sound")
    bad = {
        "talk.wav,cough,1,2": "unknown_label",
        "talk.wav,3,900,901": "bad_segment",
        "talk.wav,3,,": "bad_row",
        "talk.wav,,1,2": "bad_row",
        "talk.wav,3,2,1": "bad_row",
        "gone.wav,3,1,2": "not_found",
        "broken.wav,3,1,2": "unsupported_format",
    }
    (talk / "bad.csv").write_text("\n".join([*lines, *bad]))
    result = earful("evaluate", MODEL, talk / "bad.csv", "--events", "--json")
    assert result.exit_code == 1
    measured = json.loads(result.stdout)
    assert sorted(row["code"] for row in measured["failed"]) == sorted(bad.values())
    assert {row["line"] for row in measured["failed"]} >= {22, 23, 24, 25, 26}
    good = json.loads(earful("evaluate", MODEL, talk / "events.csv", "--events", "--json").stdout)
    assert {**measured, "failed": []} == good


@pytest.mark.parametrize(
    ("content", "name", "arguments", "message"),
    [
        ("filename,label,start,end\n", "a.csv", (), "has a header and no rows"),
        ("filename,label\na.wav,3\n", "a.csv", (), "no event that can be used; the first problem"),
        ("hello\n", "a.txt", (), "is no Audacity label track"),
        ("1\t2\tthree\n", "a.txt", (), "no event that can be used; the first problem"),
        ("", "a.csv", ("--collar", 0), "collar_seconds is a number from 0.001 to 60"),
        ("", "a.csv", ("--split", "test", "--noise-test"), "--split, --noise-test measures clips"),
        ("", "a.csv", ("--by", "speaker"), "--by speaker measures clips"),
        ("", "a.csv", ("--false-accepts-per-hour", 0), "--false-accepts-per-hour measures clips"),
        ("", "a.csv", ("--audio-dir", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_refuses(
    earful: RunCommand,
    tmp_path: Path,
    content: str,
    name: str,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    (tmp_path / name).write_text(content)
    result = earful("evaluate", MODEL, tmp_path / name, "--events", *arguments)
    assert isinstance(result.exception, EarfulError), (result.output, result.exception)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_tracks_and_collars_without_the_flag_and_a_missing_file_are_refused(
    earful: RunCommand, talk: Path, tmp_path: Path
) -> None:
    track = tmp_path / "talk.txt"
    track.write_text("1.0\t1.5\t7\n")
    result = earful("evaluate", MODEL, track)
    assert "is an Audacity label track of events; add --events" in str(result.exception)
    result = earful("evaluate", MODEL, talk / "events.csv", "--collar", 0.1)
    assert "give --events as well" in str(result.exception)
    result = earful("evaluate", MODEL, talk / "event.csv", "--events")
    assert "did you mean" in str(result.exception)
