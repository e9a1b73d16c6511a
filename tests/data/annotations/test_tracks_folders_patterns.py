"""Audacity tracks, Raven tables, folders and file name patterns."""

import os
from pathlib import Path

import pytest

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.patterns import Pattern
from earful.data.annotations.read_sources import ImportOptions, detect_format, read_sources
from earful.data.annotations.summary import format_summary
from earful.data.annotations.table import read_table, write_table
from tests.fixtures.synthetic_audio import tone, wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("day.wav", "day.flac", "night.wav", "sub/day.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wav(tone("mid", 0.5)))
    return tmp_path


def labels_and_times(found: AnnotationSet) -> list[tuple[str, str, float | None, float | None]]:
    return [(a.path.name, a.label, a.start_seconds, a.end_seconds) for a in found.annotations]


def test_full_audacity_track_is_read(folder: Path) -> None:
    track = folder / "night.txt"
    lines = [
        "0,1\t0,2\ta b",
        "\\\t100.0\t200.0",
        "",
        "0.3\t0.3\tpoint",
        "0.3\t0.4",
        "0\t0.5\twhole",
    ]
    track.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found = read_sources([track], ImportOptions())
    assert labels_and_times(found) == [
        ("night.wav", "a b", 0.1, 0.2),
        ("night.wav", "whole", None, None),
    ]
    assert [(p.code, p.location) for p in found.problems] == [("bad_times", f"{track}, line 4")]
    assert [(p.code, p.location) for p in found.skipped] == [("unlabelled", f"{track}, line 5")]


def test_track_belongs_to_the_only_recording_with_its_name(folder: Path) -> None:
    for name in ("day", "sub/day", "lost"):
        (folder / f"{name}.txt").write_text(f"0.1\t0.2\t{name}\n", encoding="utf-8")
    found = read_sources([folder], ImportOptions())
    assert labels_and_times(found) == [("day.wav", "sub/day", 0.1, 0.2)]
    assert [problem.code for problem in found.problems] == ["ambiguous", "missing_file"]
    assert "rename the track after one of them, as in day.flac.txt" in found.problems[0].message
    (folder / "day.flac.txt").write_text("0.2\t0.3\tflac\n", encoding="utf-8")
    by_name = {a.label: a.path.name for a in read_sources([folder], ImportOptions()).annotations}
    assert by_name == {"day": "day.wav", "flac": "day.flac", "sub/day": "day.wav"}


HEADER = "Selection\tView\tBegin Time (s)\tEnd Time (s)"


@pytest.mark.parametrize(
    ("more", "columns", "expected"),
    [
        ("Species\tPeak Freq (Hz)", (), "Species"),
        ("Label\tComment", (), "Label"),
        ("comment\tSPECIES", ("species",), "SPECIES"),
    ],
)
def test_raven_label_column_is_chosen(
    folder: Path, more: str, columns: tuple[str, ...], expected: str
) -> None:
    table = folder / "night.Table.1.selections.txt"
    (folder / "README.txt").write_text("no table", encoding="utf-8")
    views = []
    for view, label in (("Waveform", "?"), ("Spectrogram", "owl"), ("Waveform", "?")):
        cells = "\t".join(label if name == expected else "7" for name in more.split("\t"))
        views.append(f"1\t{view} 1\t0.1\t0.2\t{cells}\t\n")
    table.write_text(f"{HEADER}\t{more}\n{''.join(views)}", encoding="utf-8")
    for source in (table, folder):
        assert labels_and_times(read_sources([source], ImportOptions(label_columns=columns))) == [
            ("night.wav", "owl", 0.1, 0.2)
        ]


def test_ambiguous_raven_label_column_is_refused(folder: Path) -> None:
    table = folder / "night.txt"
    table.write_text(f"{HEADER}\tWho\tHow\n1\tS\t0\t1\tx\ty\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match="--label-column; it has 'Who', 'How'"):
        read_sources([table], ImportOptions())


def test_multi_file_raven_times_are_relative_to_each_file(folder: Path) -> None:
    table = folder / "all.txt"
    rows = [
        "1\tS\t0.1\t0.2\tC:\\x\\night.wav\t0.1\towl",
        "2\tS\t0.6\t0.8\tsub/day.wav\t0.1\tcat",
        "3\tS\t0.6\t0.8\t/x/gone.wav\t0.1\tdog",
        "4\tS\t0.6\t0.8\tsub/day.wav\t0.2\t",
    ]
    header = f"{HEADER}\tBegin Path\tFile Offset (s)\tWho\n"
    table.write_text(header + "\n".join(rows), encoding="utf-8")
    found = read_sources([table], ImportOptions())
    assert labels_and_times(found) == [("night.wav", "owl", 0.1, 0.2), ("day.wav", "cat", 0.1, 0.3)]
    assert [p.code for p in (*found.problems, *found.skipped)] == ["missing_file", "unlabelled"]
    table.write_text(
        header + "\n".join(rows[:2]).replace("\t0.1\tcat", "\t\tcat"), encoding="utf-8"
    )
    [problem] = read_sources([table], ImportOptions()).problems
    assert problem.code == "cumulative_times"
    assert "File Offset (s)" in problem.message


def test_empty_table_is_reported(folder: Path) -> None:
    (folder / "night.selections.txt").write_text(f"{HEADER}\tWho\n", encoding="utf-8")
    (folder / "day.txt").write_text("", encoding="utf-8")
    found = read_sources([folder / "night.selections.txt"], ImportOptions())
    found.extend(read_sources([folder / "day.txt"], ImportOptions(file_format="audacity")))
    assert [p.code for p in (*found.skipped, *found.problems)] == ["no_events", "ambiguous"]


def test_folder_names_become_labels_and_other_files_are_skipped(folder: Path) -> None:
    (folder / "sub" / "notes.md").write_text("", encoding="utf-8")
    (folder / "loop").symlink_to(folder)
    found = read_sources([folder], ImportOptions(file_format="folders"))
    assert labels_and_times(found) == [("day.wav", "sub", None, None)]
    codes = sorted(problem.code for problem in found.skipped)
    assert codes == ["no_folder", "no_folder", "no_folder", "not_audio"]


def test_names_a_csv_cannot_contain_are_problems_and_are_printed_escaped(tmp_path: Path) -> None:
    names = [b"\xff.wav", b" a.wav", b"esc\x1b[2J\n.wav", b"good.wav"]
    (tmp_path / "x").mkdir()
    for name in names:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/x/" + name))).write_bytes(b"")
    found = read_sources([tmp_path], ImportOptions())
    assert sorted(problem.code for problem in found.problems) == ["bad_name", "bad_name"]
    assert all(line.isprintable() for line in format_summary(found).splitlines())
    write_table(found.annotations, tmp_path / "l.csv")
    assert {annotation.path.name for annotation in read_table(tmp_path / "l.csv").annotations} == {
        "esc\x1b[2J\n.wav",
        "good.wav",
    }


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("{label}_{speaker}_{n}.wav", "7_ann_12.wav", [{"label": "7", "speaker": "ann"}]),
        ("{label}_{n}.wav", "turn_left_3.wav", [{"label": "turn_left"}]),
        ("{label}_{speaker}_{n}.wav", "turn_left_ann_3.wav", 2),
        ("{label}_{speaker}_{n}.wav", "7_ann_x.wav", 0),
        ("{label}_{speaker}_{n}.wav", "7_ann_1.flac", 0),
        ("{label}_{speaker}_{n}.wav", "7__1.wav", 0),
        ("{speaker}/{label}/{*}.wav", "ann/7/x.y.wav", [{"speaker": "ann", "label": "7"}]),
        ("{speaker}/{label}/{*}.wav", "a/b/7/x.wav", 0),
        ("{label}.{*}", "7.wav", [{"label": "7"}]),
        ("x{label}", "7", 0),
        ("{label}_{a}_{b}_{c}_{d}_{e}.wav", "_" * 250, 0),
        ("{label}_{a}_{b}_{c}_{d}_{e}.wav", "x" + "_" * 240 + ".wav", 2),
    ],
)
def test_file_name_must_match_a_pattern_in_exactly_one_way(
    pattern: str, name: str, expected: int | list[dict[str, str]]
) -> None:
    parses = Pattern.parse(pattern).parses(name)
    assert (len(parses) if isinstance(expected, int) else parses) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{speaker}.wav", "contains {label} once"),
        ("{label}_{label}", "contains {label} once"),
        ("{label}{n}.wav", "a text between"),
        ("{label}_{}.wav", "a field is"),
        ("{label}_}", "a field is"),
    ],
)
def test_invalid_patterns_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        Pattern.parse(pattern)


def test_names_that_do_not_match_are_listed(folder: Path) -> None:
    (folder / "a_b_c_1.wav").write_bytes(b"")
    found = read_sources([folder], ImportOptions(pattern="{label}_{speaker}_{n}.wav"))
    assert sorted({problem.code for problem in found.problems}) == ["ambiguous", "no_match"]
    assert "label 'a', speaker 'b_c' or label 'a_b', speaker 'c'" in str(found.problems[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", "hello", "is not clear; give it as --format, one of label-studio"),
        ("x.json", '[{"data": {}}, {"a": 1}]', "may be label-studio or label-studio-min"),
        ("x.csv", "filename,label\na,b\n", "already a labels CSV.*labels merge"),
        ("x.csv", "a,b\n1,2\n", "is not clear"),
        ("x.bin", "", "is not clear"),
    ],
)
def test_ambiguous_format_must_be_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError, match=message):
        detect_format(tmp_path / name)
    with pytest.raises(AnnotationError, match="does not exist"):
        read_sources([tmp_path / "none"], ImportOptions())
