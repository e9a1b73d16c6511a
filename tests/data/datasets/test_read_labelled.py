"""One way in: a CSV, a folder, file names or a public dataset, and parts of one."""

from pathlib import Path

import pytest

from earful.data.annotations.annotation import AnnotationError
from earful.data.datasets.read_labelled import read_known_annotations, read_labelled_clips
from earful.data.errors import EarfulError
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.text_file import LabelsError
from tests.fixtures.dataset_layouts import LAYOUTS, esc50, fill, ravdess, urbansound8k, write


def rows(labelled: LabelledClips) -> list[tuple[str, str, str]]:
    return [(clip.filename, clip.label, clip.split) for clip in labelled.clips]


def test_a_folder_of_label_folders_is_read(tmp_path: Path) -> None:
    fill(tmp_path, ["no/1.wav", "yes/1.wav", "yes/2.ogg"])
    labelled = read_labelled_clips(tmp_path)
    assert rows(labelled) == [
        ("no/1.wav", "no", ""),
        ("yes/1.wav", "yes", ""),
        ("yes/2.ogg", "yes", ""),
    ]
    assert labelled.columns == {"filename", "label"}
    assert labelled.notes == ()


def test_links_and_empty_folders_are_not_dropped_in_silence(tmp_path: Path) -> None:
    fill(tmp_path / "tree", ["no/1.wav", "yes/1.wav"])
    (tmp_path / "tree" / "maybe" / "later").mkdir(parents=True)
    (tmp_path / "tree" / "bird").symlink_to(tmp_path / "elsewhere")
    fill(tmp_path, ["elsewhere/1.wav"])
    (tmp_path / "tree" / "no" / "2.wav").symlink_to(tmp_path / "nowhere.wav")
    assert read_labelled_clips(tmp_path / "tree").notes == (
        "2 links to folders or missing files are not followed, such as bird",
        "1 folder without files is no label: maybe/later",
    )


def test_recordings_beside_a_dataset_are_counted(tmp_path: Path) -> None:
    esc50(tmp_path / "ESC-50")
    fill(tmp_path, ["mine/yes/1.wav", "mine/no/1.wav"])
    note = read_labelled_clips(tmp_path).notes[-1]
    assert note.endswith("are not read (2): mine/no/1.wav, mine/yes/1.wav")


def test_numbered_files_of_genres_are_labels_and_not_gtzan(tmp_path: Path) -> None:
    fill(tmp_path, [f"genres/{label}/x.123{n}.wav" for label in ("pop", "rock") for n in "12"])
    assert {clip.label for clip in read_labelled_clips(tmp_path).clips} == {"pop", "rock"}


def test_the_pattern_for_several_depths_is_that_of_the_most_folders(tmp_path: Path) -> None:
    fill(tmp_path, ["cat/1.wav", "dog/1.wav", "extra/deep/1.wav"])
    with pytest.raises(AnnotationError, match=r"'\{label\}/\{\*\}' --out DATASET --skip-bad`$"):
        read_labelled_clips(tmp_path)


def test_a_folder_of_links_alone_is_not_called_empty(tmp_path: Path) -> None:
    fill(tmp_path, ["cat/1.wav", "dog/1.wav"])
    (tmp_path / "links").mkdir()
    for label in ("cat", "dog"):
        (tmp_path / "links" / label).symlink_to(tmp_path / label)
    with pytest.raises(LabelsError, match=r"holds no recording; 2 links .* are not followed"):
        read_labelled_clips(tmp_path / "links")


@pytest.mark.parametrize(
    ("words", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training", "Validation", "Testing"), ("train", "val", "test")),
        (("train", "dev", "eval"), ("train", "val", "test")),
        (("dev", "eval"), ("train", "test")),
        (("development", "evaluation"), ("train", "test")),
        (("train", "valid"), ("train", "val")),
    ],
)
def test_a_folder_of_split_folders_is_read(
    tmp_path: Path, words: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    fill(tmp_path, [f"{word}/{label}/1.wav" for word in words for label in ("cat", "dog")])
    labelled = read_labelled_clips(tmp_path)
    by_word = {clip.filename.split("/")[0]: clip.split for clip in labelled.clips}
    assert by_word == dict(zip(words, splits, strict=True))
    assert {clip.label for clip in labelled.clips} == {"cat", "dog"}
    assert "split" in labelled.columns


def test_split_folders_below_a_single_folder_are_read_and_it_is_said(tmp_path: Path) -> None:
    fill(tmp_path, [f"archive/{s}/{label}/1.wav" for s in ("train", "test") for label in "ab"])
    labelled = read_labelled_clips(tmp_path)
    assert {clip.split for clip in labelled.clips} == {"train", "test"}
    assert labelled.notes == (f"labels are the folders below {tmp_path / 'archive'}",)


def test_hidden_and_system_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, ["yes/1.wav", "no/1.wav", "yes/._1.wav", "__MACOSX/yes/._1.wav"])
    fill(tmp_path, [".cache/x/1.wav", "@eaDir/yes/1.wav", "$RECYCLE.BIN/1.wav"])
    write(tmp_path / "yes" / "Thumbs.db", "")
    write(tmp_path / "no" / "desktop.ini", "")
    write(tmp_path / ".DS_Store", "")
    labelled = read_labelled_clips(tmp_path)
    assert sorted(clip.filename for clip in labelled.clips) == ["no/1.wav", "yes/1.wav"]
    [note] = labelled.notes
    assert note.startswith("8 hidden and system files are passed over, such as ")


def test_files_that_are_no_recordings_are_named(tmp_path: Path) -> None:
    fill(tmp_path, ["yes/1.wav", "no/1.wav"])
    write(tmp_path / "README.md", "words")
    assert read_labelled_clips(tmp_path).notes == (
        "1 file is no recording by the suffix and not read: README.md",
    )


def test_background_noise_beside_words_is_no_label(tmp_path: Path) -> None:
    fill(tmp_path, ["yes/1.wav", "no/1.wav", "_background_noise_/tap.wav"])
    for labelled in (
        read_labelled_clips(tmp_path),
        read_labelled_clips(tmp_path, pattern="{label}/{*}"),
    ):
        assert {clip.label for clip in labelled.clips} == {"yes", "no"}
        [note] = labelled.notes
        assert note.startswith("1 recordings of _background_noise_ are background, not a label")
        assert f"--noise-dir {tmp_path / '_background_noise_'}" in note


def test_a_pattern_reads_label_speaker_split_and_fold(tmp_path: Path) -> None:
    fill(tmp_path, ["training/fold1/yes_ann_1.wav", "eval/fold2/no_bob_2.wav", "eval/._x_y_1.wav"])
    labelled = read_labelled_clips(tmp_path, pattern="{split}/{fold}/{label}_{speaker}_{n}.wav")
    assert [(c.label, c.speaker, c.split, c.fold) for c in labelled.clips] == [
        ("no", "bob", "test", "fold2"),
        ("yes", "ann", "train", "fold1"),
    ]
    assert labelled.columns == {"filename", "label", "speaker", "split", "fold"}
    assert not labelled.problems


def test_names_that_do_not_match_a_pattern_are_problems_to_skip(tmp_path: Path) -> None:
    fill(tmp_path, ["yes_1.wav", "no_1.wav", "odd.wav"])
    [problem] = read_labelled_clips(tmp_path, pattern="{label}_{n}.wav").problems
    assert problem.message.startswith("column filename, value 'odd.wav': ")


def test_an_unknown_split_word_of_a_pattern_is_a_problem(tmp_path: Path) -> None:
    fill(tmp_path, ["train/a_1.wav", "third/b_1.wav"])
    [problem] = read_labelled_clips(tmp_path, pattern="{split}/{label}_{n}.wav").problems
    assert "found 'third'" in problem.message


@pytest.mark.parametrize("folder", ["audio", "audio/fold3", "metadata"])
def test_a_part_of_a_dataset_is_recognised_from_above(tmp_path: Path, folder: str) -> None:
    urbansound8k(tmp_path)
    if folder == "metadata":
        with pytest.raises(EarfulError):
            read_labelled_clips(tmp_path / folder)
        return
    labelled = read_labelled_clips(tmp_path / folder)
    assert {clip.label for clip in labelled.clips} == {"dog_bark", "siren"}
    assert len(labelled.clips) == (40 if folder == "audio" else 4)
    assert any("4 of its 40 clips" in note for note in labelled.notes) == (folder != "audio")


def test_an_actor_of_ravdess_is_that_actor_alone(tmp_path: Path) -> None:
    ravdess(tmp_path)
    assert {c.speaker for c in read_labelled_clips(tmp_path / "Actor_02").clips} == {"02"}


TABLES = {
    "ESC-50": "meta/esc50.csv",
    "UrbanSound8K": "metadata/UrbanSound8K.csv",
    "FSD50K": "FSD50K.ground_truth/dev.csv",
    "TAU Urban Acoustic Scenes": "meta.csv",
    "BirdCLEF": "train_metadata.csv",
    "Common Voice": "test.tsv",
    "GTZAN": "features_30_sec.csv",
}


@pytest.mark.parametrize("name", TABLES)
def test_the_table_of_a_dataset_stands_for_it(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path)
    labelled = read_labelled_clips(tmp_path / TABLES[name])
    assert labelled.notes[0].startswith(f"recognised {name} in {tmp_path}: ")
    assert all(clip.path.is_file() for clip in labelled.clips)


def test_one_table_of_several_is_read_alone(tmp_path: Path) -> None:
    LAYOUTS["FSD50K"](tmp_path)
    labelled = read_labelled_clips(tmp_path / "FSD50K.ground_truth" / "dev.csv")
    assert {clip.split for clip in labelled.clips} == {"train", "val"}
    labelled = read_labelled_clips(tmp_path / "FSD50K.ground_truth" / "eval.csv")
    assert {clip.split for clip in labelled.clips} == {""}  # to be split anew


def test_a_table_with_the_audio_folder_of_its_dataset_is_recognised(tmp_path: Path) -> None:
    esc50(tmp_path)
    table = tmp_path / "meta" / "esc50.csv"
    assert "recognised" in read_labelled_clips(table, CsvOptions(tmp_path / "audio")).notes[0]
    other = tmp_path / "resampled"
    other.mkdir()
    columns = {"label": "category", "filename": "filename"}
    labelled = read_labelled_clips(table, CsvOptions(other, columns))
    assert not any("recognised" in note for note in labelled.notes)
    assert labelled.clips[0].path.parent == other


def test_columns_of_the_user_come_before_those_of_the_dataset(tmp_path: Path) -> None:
    esc50(tmp_path)
    labelled = read_labelled_clips(tmp_path, CsvOptions(columns={"label": "target", "fold": ""}))
    assert {clip.label for clip in labelled.clips} == {"0", "10"}
    assert "fold" not in labelled.columns


def test_a_renamed_table_is_an_ordinary_csv(tmp_path: Path) -> None:
    esc50(tmp_path)
    write(tmp_path / "meta" / "mine.csv", "filename,label", "1-1-A-0.wav,woof")
    labelled = read_labelled_clips(tmp_path / "meta" / "mine.csv", CsvOptions(tmp_path / "audio"))
    assert [clip.label for clip in labelled.clips] == ["woof"]


def test_labels_of_a_dataset_are_imported_with_folds_and_origin(tmp_path: Path) -> None:
    urbansound8k(tmp_path)
    collected = read_known_annotations(tmp_path / "audio")
    assert collected is not None
    assert {annotation.fold for annotation in collected.annotations} == {
        str(n) for n in range(1, 11)
    }
    assert {a.provenance.source for a in collected.annotations} == {"dataset:UrbanSound8K"}
    fill(tmp_path / "own", ["a/1.wav", "b/1.wav"])
    assert read_known_annotations(tmp_path / "own") is None


# Names of recordings below the folder, and what its refusal says.
MISLEADING = {
    "one label": (
        ("cats/1.wav", "cats/2.wav"),
        "lie in one folder, 'cats', and training",
    ),
    "one folder in another": (("a/b/1.wav",), "lie in one folder, 'b'"),
    "folds": (("fold1/1.wav", "fold2/1.wav"), "are folds (fold1, fold2), not labels"),
    "folds, spelled": (("Fold_01/1.wav", "Fold_02/1.wav"), "are folds (Fold_01, Fold_02)"),
    "parts": (("part1/1.wav", "part2/1.wav"), "are folds (part1, part2)"),
    "a fold and another": (
        ("fold1/1.wav", "fold2/1.wav", "extra/1.wav"),
        "are folds (extra, ",
    ),
    "actors": (("Actor_01/1.wav", "Actor_02/1.wav"), "are speakers (Actor_01, Actor_02)"),
    "speakers": (("spk01/1.wav", "spk02/1.wav"), "are speakers (spk01, spk02)"),
    "speakers of VCTK": (("p225/1.wav", "p226/1.wav"), "are speakers (p225, p226)"),
    "speakers of VoxCeleb": (("id10270/1.wav", "id10271/1.wav"), "are speakers (id10270,"),
    "patients": (("patient-1/1.wav", "patient-2/1.wav"), "are speakers (patient-1,"),
    "speakers of LibriSpeech": (
        ("84/1.wav", "174/1.wav", "251/1.wav"),
        "are numbers (174, 251, ",
    ),
    "numbers with zeros": (("01/1.wav", "02/1.wav"), "are numbers (01, 02)"),
    "hashes": (("0a1b2c3d/1.wav", "ffee00112/1.wav"), "are ids (0a1b2c3d, ffee00112)"),
    "days": (("2024-05-01/1.wav", "2024-05-02/1.wav"), "are dates (2024-05-01, 2024-05-02)"),
    "sessions": (("session1/1.wav", "session2/1.wav"), "are sessions (session1, session2)"),
    "train and test": (("train/1.wav", "test/1.wav"), "are parts of a split (test, train)"),
    "dev and eval": (("dev/1.wav", "eval/1.wav"), "are parts of a split (dev, eval)"),
    "kinds of files": (("audio/1.wav", "speakers/1.wav"), "are kinds of files (audio, speakers)"),
    "speakers below splits": (
        ("train/spk1/1.wav", "train/spk2/1.wav", "test/spk3/1.wav"),
        "are speakers (spk1, spk2, spk3)",
    ),
    "one label below splits": (("train/cat/1.wav", "test/cat/1.wav"), "lie in one folder, 'cat'"),
    "labels below folds": (
        ("fold1/a/1.wav", "fold1/b/1.wav", "fold2/a/1.wav"),
        "'{fold}/{label}/{*}'",
    ),
    "labels below speakers": (
        ("spk1/a/1.wav", "spk1/b/1.wav", "spk2/a/1.wav"),
        "'{speaker}/{label}/{*}'",
    ),
    "speakers below labels": (
        ("yes/p225/1.wav", "yes/p226/1.wav", "no/p225/1.wav"),
        "'{label}/{speaker}/{*}'",
    ),
    "names below labels": (
        ("yes/first/1.wav", "yes/second/1.wav", "no/third/1.wav", "no/fourth/1.wav"),
        "'{label}/{*}/{*}'",
    ),
    "speakers below splits and deeper": (
        ("train/x/spk1/1.wav", "train/y/spk2/1.wav", "test/x/spk1/1.wav"),
        "'{split}/{label}/{speaker}/{*}'",
    ),
    "several depths": (("a/1.wav", "b/c/1.wav"), "lie at several depths"),
    "loose beside folders": (("1.wav", "a/1.wav", "b/1.wav"), "1 recordings lie in"),
    "loose": (("1.wav", "2.wav"), "holds recordings without labels; write a CSV"),
    "hidden alone": (("a/._1.wav", "b/._1.wav"), "holds no recording; 2 hidden and system files"),
    "background alone": (("_background_noise_/1.wav",), "contains no folder"),
}


@pytest.mark.parametrize("kind", MISLEADING)
def test_a_tree_whose_folders_are_no_labels_is_refused_with_what_to_say(
    tmp_path: Path, kind: str
) -> None:
    names, message = MISLEADING[kind]
    fill(tmp_path / "clips", names)
    with pytest.raises(EarfulError) as refused:
        read_labelled_clips(tmp_path / "clips")
    assert message in str(refused.value)
    assert str(tmp_path / "clips") in str(refused.value)


@pytest.mark.parametrize(
    "names",
    [
        ("train", "bus", "tram"),
        ("0", "1", "2", "3"),
        ("1", "2", "3"),
        ("s1", "s2", "noise"),
        ("class1", "class2"),
        ("on", "off", "data"),
        ("add", "bed", "fade"),
        ("_silence_", "_unknown_", "yes"),
        ("café", "naïve"),
        ("c1", "d2"),
    ],
)
def test_folders_that_may_be_labels_are_labels(tmp_path: Path, names: tuple[str, ...]) -> None:
    fill(tmp_path, [f"{name}/a.wav" for name in names])
    assert {clip.label for clip in read_labelled_clips(tmp_path).clips} == set(names)


def test_a_label_that_looks_like_none_among_others_is_asked_about(tmp_path: Path) -> None:
    fill(tmp_path, ["on/a.wav", "off/a.wav", "data/a.wav"])
    assert read_labelled_clips(tmp_path).notes == (
        "the folder 'data' is taken for a label; is it one?",
    )


def test_the_pattern_of_a_refusal_reads_the_labels(tmp_path: Path) -> None:
    fill(tmp_path, ["fold1/a/1.wav", "fold1/b/2.ogg", "fold2/a/3.wav"])
    with pytest.raises(AnnotationError) as refused:
        read_labelled_clips(tmp_path)
    pattern = str(refused.value).split("--pattern '")[1].split("'")[0]
    labelled = read_labelled_clips(tmp_path, pattern=pattern)
    assert [(c.label, c.fold) for c in labelled.clips] == [
        ("a", "fold1"),
        ("b", "fold1"),
        ("a", "fold2"),
    ]


def test_several_datasets_in_one_folder_are_listed(tmp_path: Path) -> None:
    esc50(tmp_path / "ESC-50-master")
    ravdess(tmp_path / "ravdess")
    with pytest.raises(LabelsError, match=r"holds several datasets; give one of them: ESC-50 in "):
        read_labelled_clips(tmp_path)


def test_a_layout_without_its_recordings_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "meta" / "esc50.csv", "filename,fold,category,src_file")
    fill(tmp_path, ["audio/1-1-A-0.wav"])
    with pytest.raises(LabelsError, match="no rows"):
        read_labelled_clips(tmp_path)


@pytest.mark.parametrize(
    ("options", "pattern", "message"),
    [
        (CsvOptions(Path()), "", "--audio-dir is for a labels CSV"),
        (CsvOptions(columns={"label": "x"}), "", "--columns names columns of a labels CSV"),
        (CsvOptions(Path()), "{label}_{n}.wav", "leave --audio-dir and --columns out"),
        (CsvOptions(), "{n}.wav", r"a pattern contains \{label\} once"),
    ],
)
def test_options_that_do_not_fit_a_folder_are_refused(
    tmp_path: Path, options: CsvOptions, pattern: str, message: str
) -> None:
    fill(tmp_path, ["a/1.wav", "b/1.wav"])
    with pytest.raises(EarfulError, match=message):
        read_labelled_clips(tmp_path, options, pattern)


def test_a_pattern_needs_a_folder_with_recordings(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="--pattern is for a folder of recordings, found"):
        read_labelled_clips(tmp_path / "none.csv", pattern="{label}_{n}.wav")
    with pytest.raises(LabelsError, match="is an empty folder"):
        read_labelled_clips(tmp_path, pattern="{label}_{n}.wav")


def test_a_folder_with_a_labels_csv_names_it(tmp_path: Path) -> None:
    fill(tmp_path, ["a/1.wav", "b/1.wav"])
    write(tmp_path / "labels.csv", "filename,label", "a/1.wav,a")
    with pytest.raises(LabelsError, match="is a folder with a labels CSV; give that"):
        read_labelled_clips(tmp_path)


def test_ones_own_clips_beside_train_tsv_are_no_common_voice(tmp_path: Path) -> None:
    fill(tmp_path, ["clips/1.wav", "clips/2.wav"])
    write(tmp_path / "train.tsv", "filename\tlabel", "clips/1.wav\ta", "clips/2.wav\tb")
    labelled = read_labelled_clips(tmp_path / "train.tsv")
    assert [clip.label for clip in labelled.clips] == ["a", "b"]
    assert labelled.notes == ()


def test_a_folder_beside_a_dataset_is_no_part_of_it(tmp_path: Path) -> None:
    ravdess(tmp_path)
    fill(tmp_path, ["mine/yes/1.wav", "mine/no/1.wav"])
    assert {clip.label for clip in read_labelled_clips(tmp_path / "mine").clips} == {"yes", "no"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("info.json", '{"licence": "CC0", "n": 4}'),
        ("info.json", "not JSON"),
        ("config.json", '["a", "b"]'),
        ("README.txt", "A dataset of two words."),
    ],
)
def test_a_file_about_the_dataset_is_no_export_of_labels(
    tmp_path: Path, name: str, text: str
) -> None:
    fill(tmp_path, ["on/1.wav", "on/2.wav", "off/1.wav", "off/2.wav"])
    (tmp_path / name).write_text(text)
    labelled = read_labelled_clips(tmp_path)
    assert sorted({clip.label for clip in labelled.clips}) == ["off", "on"]
