"""Audacity tracks, Raven tables, folders and file names as people and other programs make them."""

import os
from pathlib import Path

import pytest

from earful.data.annotations.annotation import AnnotationError, Found
from earful.data.annotations.patterns import Pattern
from earful.data.annotations.read_sources import Reading, detect, read_sources
from earful.data.annotations.summary import summary
from earful.data.annotations.table import read_table, write_table
from tests.fixtures.sounds import tone, wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("day.wav", "day.flac", "night.wav", "sub/day.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wav(tone("mid", 0.5)))
    return tmp_path


def seen(found: Found) -> list[tuple[str, str, float | None, float | None]]:
    return [(a.path.name, a.label, a.start_seconds, a.end_seconds) for a in found.annotations]


def test_an_audacity_track_with_all_that_a_track_may_hold(folder: Path) -> None:
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
    found = read_sources([track], Reading())
    assert seen(found) == [
        ("night.wav", "a b", 0.1, 0.2), ("night.wav", "whole", None, None),
    ]  # fmt: skip
    assert [(p.code, p.where) for p in found.problems] == [("bad_times", f"{track}, line 4")]
    assert [(p.code, p.where) for p in found.skipped] == [("unlabelled", f"{track}, line 5")]


def test_a_track_is_of_the_one_recording_of_its_name(folder: Path) -> None:
    for name in ("day", "sub/day", "lost"):
        (folder / f"{name}.txt").write_text(f"0.1\t0.2\t{name}\n", encoding="utf-8")
    found = read_sources([folder], Reading())
    assert seen(found) == [("day.wav", "sub/day", 0.1, 0.2)]
    assert [problem.code for problem in found.problems] == ["ambiguous", "gone"]
    assert "name the track day.flac.txt" in found.problems[0].message
    (folder / "day.flac.txt").write_text("0.2\t0.3\tflac\n", encoding="utf-8")
    by_name = {a.label: a.path.name for a in read_sources([folder], Reading()).annotations}
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
def test_the_column_of_a_raven_tables_labels(
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
        assert seen(read_sources([source], Reading(label_columns=columns))) == [
            ("night.wav", "owl", 0.1, 0.2)
        ]


def test_a_raven_table_whose_labels_are_not_certain(folder: Path) -> None:
    table = folder / "night.txt"
    table.write_text(f"{HEADER}\tWho\tHow\n1\tS\t0\t1\tx\ty\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match="--label-column; it has 'Who', 'How'"):
        read_sources([table], Reading())


def test_a_raven_table_of_several_files_counts_from_each(folder: Path) -> None:
    table = folder / "all.txt"
    rows = [
        "1\tS\t0.1\t0.2\tC:\\x\\night.wav\t0.1\towl",
        "2\tS\t0.6\t0.8\tsub/day.wav\t0.1\tcat",
        "3\tS\t0.6\t0.8\t/x/gone.wav\t0.1\tdog",
        "4\tS\t0.6\t0.8\tsub/day.wav\t0.2\t",
    ]
    header = f"{HEADER}\tBegin Path\tFile Offset (s)\tWho\n"
    table.write_text(header + "\n".join(rows), encoding="utf-8")
    found = read_sources([table], Reading())
    assert seen(found) == [("night.wav", "owl", 0.1, 0.2), ("day.wav", "cat", 0.1, 0.3)]
    assert [p.code for p in (*found.problems, *found.skipped)] == ["gone", "unlabelled"]
    table.write_text(
        header + "\n".join(rows[:2]).replace("\t0.1\tcat", "\t\tcat"), encoding="utf-8"
    )
    [problem] = read_sources([table], Reading()).problems
    assert problem.code == "cumulative_times"
    assert "File Offset (s)" in problem.message


def test_an_empty_table_says_that_nothing_was_there(folder: Path) -> None:
    (folder / "night.selections.txt").write_text(f"{HEADER}\tWho\n", encoding="utf-8")
    (folder / "day.txt").write_text("", encoding="utf-8")
    found = read_sources([folder / "night.selections.txt"], Reading())
    found.extend(read_sources([folder / "day.txt"], Reading(form="audacity")))
    assert [p.code for p in (*found.skipped, *found.problems)] == ["no_events", "ambiguous"]


def test_folders_and_what_lies_beside_them(folder: Path) -> None:
    (folder / "sub" / "notes.md").write_text("", encoding="utf-8")
    (folder / "loop").symlink_to(folder)
    found = read_sources([folder], Reading(form="folders"))
    assert seen(found) == [("day.wav", "sub", None, None)]
    codes = sorted(problem.code for problem in found.skipped)
    assert codes == ["no_folder", "no_folder", "no_folder", "not_audio"]


def test_names_that_no_csv_holds_are_problems_and_are_shown_as_text(tmp_path: Path) -> None:
    names = [b"\xff.wav", b" a.wav", b"esc\x1b[2J\n.wav", b"good.wav"]
    (tmp_path / "x").mkdir()
    for name in names:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/x/" + name))).write_bytes(b"")
    found = read_sources([tmp_path], Reading())
    assert sorted(problem.code for problem in found.problems) == ["bad_name", "bad_name"]
    assert all(line.isprintable() for line in summary(found).splitlines())
    write_table(found.annotations, tmp_path / "l.csv")
    assert {annotation.path.name for annotation in read_table(tmp_path / "l.csv").annotations} == {
        "esc\x1b[2J\n.wav", "good.wav",
    }  # fmt: skip


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
def test_a_name_is_read_in_one_way_or_not_at_all(
    pattern: str, name: str, expected: int | list[dict[str, str]]
) -> None:
    readings = Pattern.parse(pattern).readings(name)
    assert (len(readings) if isinstance(expected, int) else readings) == expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("{speaker}.wav", "holds {label} once"),
        ("{label}_{label}", "holds {label} once"),
        ("{label}{n}.wav", "a text between"),
        ("{label}_{}.wav", "a field is"),
        ("{label}_}", "a field is"),
    ],
)
def test_patterns_that_cannot_work(pattern: str, told: str) -> None:
    with pytest.raises(AnnotationError, match=told):
        Pattern.parse(pattern)


def test_names_that_do_not_fit_are_listed(folder: Path) -> None:
    (folder / "a_b_c_1.wav").write_bytes(b"")
    found = read_sources([folder], Reading(pattern="{label}_{speaker}_{n}.wav"))
    assert sorted({problem.code for problem in found.problems}) == ["ambiguous", "no_match"]
    assert "label 'a', speaker 'b_c' or label 'a_b', speaker 'c'" in str(found.problems[0])


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.txt", "hello", "is not certain; give it as --format, one of label-studio"),
        ("x.json", '[{"data": {}}, {"a": 1}]', "may be label-studio or label-studio-min"),
        ("x.csv", "filename,label\na,b\n", "labels CSV already.*labels merge"),
        ("x.csv", "a,b\n1,2\n", "is not certain"),
        ("x.bin", "", "is not certain"),
    ],
)
def test_a_format_is_asked_for_where_it_is_not_certain(
    tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError, match=told):
        detect(tmp_path / name)
    with pytest.raises(AnnotationError, match="there is no"):
        read_sources([tmp_path / "none"], Reading())
