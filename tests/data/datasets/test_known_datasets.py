"""Each public dataset on a miniature of its layout: labels, parts, folds, speakers and notes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from earful.data.datasets.catalogue import DATASETS
from earful.data.datasets.read_labelled import read_labelled_clips
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.text_file import LabelsError
from earful.training.api.prepare import prepare
from tests.fixtures.dataset_layouts import LAYOUTS, fill, write

Unpack = Callable[[str], Path]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    def unpacked(name: str) -> Path:
        root = tmp_path / name.replace(" ", "-")
        LAYOUTS[name](root)
        return root

    return unpacked


def labels(labelled: LabelledClips) -> dict[str, int]:
    return dict(Counter(clip.label for clip in labelled.clips))


def by(labelled: LabelledClips, field: str) -> dict[str, int]:
    return dict(Counter(getattr(clip, field) for clip in labelled.clips))


def test_every_dataset_has_a_miniature() -> None:
    assert [dataset.name for dataset in DATASETS] == list(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_command_prepares_a_dataset_as_it_is_unpacked(
    unpack: Unpack, tmp_path: Path, name: str
) -> None:
    root = unpack(name)
    prepared = prepare(root, tmp_path / "dataset")
    notes = " ".join(prepared.notes())
    licence = next(dataset.licence for dataset in DATASETS if dataset.name == name)
    assert f"recognised {name} in {root}: " in notes
    assert f"; licence {licence}" in notes
    assert not prepared.skipped
    assert len(prepared.labels) > 1
    assert min(prepared.by_split.values()) > 0
    assert set(prepared.by_split) == {"train", "val", "test"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_clip_of_a_miniature_is_a_file(unpack: Unpack, name: str) -> None:
    labelled = read_labelled_clips(unpack(name))
    assert labelled.clips
    assert not [clip.path for clip in labelled.clips if not clip.path.is_file()]
    assert not labelled.problems
    assert {"filename", "label"} <= labelled.columns


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_that_of_one_dataset(unpack: Unpack, name: str) -> None:
    root = unpack(name)
    assert [dataset.name for dataset in DATASETS if dataset.matches(root)] == [name]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_dataset_is_recognised_one_and_two_folders_down(unpack: Unpack, name: str) -> None:
    root = unpack(name)
    outer = root.parent / "downloads" / "archive"
    outer.mkdir(parents=True)
    root.rename(outer / root.name)
    for folder in (outer, outer.parent):
        assert f"recognised {name} in " in read_labelled_clips(folder).notes[0]


def test_fsdd_has_its_first_five_recordings_as_test_part(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("FSDD"))
    assert labels(labelled) == {"0": 24, "3": 24}
    assert by(labelled, "speaker") == {"lucas": 24, "theo": 24}
    tested = {clip.path.stem.split("_")[-1] for clip in labelled.clips if clip.split == "test"}
    assert tested == {"0", "1", "2", "3", "4"}
    assert by(labelled, "split") == {"test": 20, "train": 28}


def test_ones_own_digits_are_not_taken_for_fsdd(tmp_path: Path) -> None:
    fill(tmp_path, ["recordings/0_ann_0.wav", "recordings/1_ann_0.wav"])
    with pytest.raises(Exception, match=r"\{label\}_\{\*\}"):
        read_labelled_clips(tmp_path)


def test_speech_commands_has_its_two_lists_as_parts_and_noise_as_background(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("Speech Commands"))
    assert labels(labelled) == {"no": 16, "yes": 16}
    assert by(labelled, "split") == {"train": 24, "val": 4, "test": 4}
    assert {clip.speaker for clip in labelled.clips if clip.split == "val"} == {"00000006"}
    assert len({clip.speaker for clip in labelled.clips}) == 8
    assert any("2 recordings of _background_noise_ are background" in n for n in labelled.notes)
    assert any("--noise-dir" in note for note in labelled.notes)


def test_the_lists_of_speech_commands_are_matched_by_word_and_name(unpack: Unpack) -> None:
    root = unpack("Speech Commands")
    write(root / "validation_list.txt", "speech_commands/yes/00000001_nohash_0.wav")
    write(root / "testing_list.txt", "no/00000001_nohash_0.wav", "no/nothing.wav")
    labelled = read_labelled_clips(root)
    split = {clip.filename: clip.split for clip in labelled.clips}
    assert split["yes/00000001_nohash_0.wav"] == "val"
    assert split["no/00000001_nohash_0.wav"] == "test"
    assert split["no/00000001_nohash_1.wav"] == "train"
    assert "1 of the 3 names in the two lists have no file here" in labelled.notes


def test_audio_mnist_has_the_folds_of_its_paper(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("AudioMNIST"))
    assert labels(labelled) == {"0": 15, "7": 15}
    folds = {clip.speaker: clip.fold for clip in labelled.clips}
    assert folds == {"26": "1", "01": "2", "02": "3", "43": "4", "12": "5"}


def test_common_voice_takes_gender_and_says_how_to_take_another_column(unpack: Unpack) -> None:
    root = unpack("Common Voice")
    labelled = read_labelled_clips(root)
    assert labels(labelled) == {"male_masculine": 31, "female_feminine": 30}
    assert set(by(labelled, "split")) == {"train", "val", "test"}
    assert "29 clips have no gender and are left out" in labelled.notes
    assert any("--columns label=NAME" in note for note in labelled.notes)
    ages = read_labelled_clips(root, CsvOptions(columns={"label": "age"}))
    assert labels(ages) == {"twenties": 90}


def test_common_voice_of_single_words_takes_the_sentence(unpack: Unpack) -> None:
    root = unpack("Common Voice")
    for path in root.glob("*.tsv"):
        text = path.read_text("utf-8")
        for number in range(100):
            text = text.replace(f"\tSentence {number}.\t", f"\t{('yes', 'no')[number % 2]}\t")
        path.write_text(text, encoding="utf-8")
    assert set(labels(read_labelled_clips(root))) == {"yes", "no"}


def test_common_voice_of_several_languages_takes_the_language(tmp_path: Path) -> None:
    for locale in ("en", "de"):
        LAYOUTS["Common Voice"](tmp_path / "cv" / locale)
    for path in (tmp_path / "cv" / "de").glob("*.tsv"):
        path.write_text(path.read_text("utf-8").replace("\ten\t", "\tde\t"), encoding="utf-8")
    labelled = read_labelled_clips(tmp_path / "cv")
    assert labels(labelled) == {"en": 90, "de": 90}
    assert {clip.filename.split("/")[0] for clip in labelled.clips} == {"en", "de"}


def test_common_voice_without_parts_reads_what_is_validated(unpack: Unpack) -> None:
    root = unpack("Common Voice")
    (root / "train.tsv").rename(root / "validated.tsv")
    labelled = read_labelled_clips(root)
    assert len(labelled.clips) == 47
    assert "split" not in labelled.columns
    assert "speaker" in labelled.columns


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("01", "neutral"),
        ("02", "calm"),
        ("03", "happy"),
        ("04", "sad"),
        ("05", "angry"),
        ("06", "fearful"),
        ("07", "disgust"),
        ("08", "surprised"),
    ],
)
def test_ravdess_codes_its_emotion_in_the_third_field(
    unpack: Unpack, code: str, label: str
) -> None:
    labelled = read_labelled_clips(unpack("RAVDESS"))
    found = {clip.label for clip in labelled.clips if clip.path.name.split("-")[2] == code}
    assert found == {label}
    assert by(labelled, "speaker") == dict.fromkeys(("01", "02", "03", "04", "05"), 16)


def test_an_unknown_code_is_a_problem_and_another_name_is_counted(unpack: Unpack) -> None:
    root = unpack("RAVDESS")
    fill(root, ["Actor_01/03-01-09-01-01-01-01.wav", "copies/Actor_01/03-01-01-01-01-01-01.wav"])
    labelled = read_labelled_clips(root)
    [problem] = labelled.problems
    assert problem.message.startswith("column label, value '09': ")
    assert "none of the codes 01, 02" in problem.message
    assert any("1 recording has another name or place" in note for note in labelled.notes)


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("ANG", "anger"),
        ("DIS", "disgust"),
        ("FEA", "fear"),
        ("HAP", "happy"),
        ("NEU", "neutral"),
        ("SAD", "sad"),
    ],
)
def test_crema_d_codes_its_emotion_in_the_third_field(
    unpack: Unpack, code: str, label: str
) -> None:
    labelled = read_labelled_clips(unpack("CREMA-D"))
    found = {clip.label for clip in labelled.clips if f"_{code}_" in clip.path.name}
    assert found == {label}
    assert by(labelled, "speaker")["1005"] == 13  # with the one of level X


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("W", "anger"),
        ("L", "boredom"),
        ("E", "disgust"),
        ("A", "fear"),
        ("F", "happiness"),
        ("T", "sadness"),
        ("N", "neutral"),
    ],
)
def test_emodb_codes_its_emotion_in_the_sixth_letter(unpack: Unpack, code: str, label: str) -> None:
    labelled = read_labelled_clips(unpack("EmoDB"))
    assert {clip.label for clip in labelled.clips if clip.path.name[5] == code} == {label}
    assert by(labelled, "speaker") == dict.fromkeys(("03", "08", "13", "16"), 14)


def test_esc50_has_its_folds_and_source_recordings(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("ESC-50"))
    assert labels(labelled) == {"dog": 20, "rain": 20}
    assert by(labelled, "fold") == dict.fromkeys("12345", 8)
    assert {clip.speaker for clip in labelled.clips if clip.fold == "2"} == {"2001", "2002"}
    assert "split" not in labelled.columns


def test_urbansound8k_leaves_the_times_in_other_recordings_aside(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("UrbanSound8K"))
    assert labels(labelled) == {"dog_bark": 20, "siren": 20}
    assert not {"start", "end"} & labelled.columns
    assert {clip.start_seconds for clip in labelled.clips} == {None}
    assert {clip.fold: clip.path.parent.name for clip in labelled.clips} == {
        str(fold): f"fold{fold}" for fold in range(1, 11)
    }
    assert len({clip.speaker for clip in labelled.clips}) == 20
    assert "left aside" in labelled.notes[0]


def test_fsd50k_has_several_labels_and_its_eval_part_as_test_part(unpack: Unpack) -> None:
    root = unpack("FSD50K")
    labelled = read_labelled_clips(root)
    assert labels(labelled) == {"Animal|Bark|Dog": 10, "Animal|Meow": 10}
    assert by(labelled, "split") == {"train": 12, "val": 4, "test": 4}
    assert {clip.path.parent.name for clip in labelled.clips if clip.split == "test"} == {
        "FSD50K.eval_audio"
    }
    (root / "FSD50K.ground_truth" / "eval.csv").unlink()
    without = read_labelled_clips(root)
    assert len(without.clips) == 16
    assert "FSD50K.ground_truth/eval.csv is not there, and nothing of it is read" in without.notes


def test_tau_has_fold_1_as_parts_and_places_as_groups(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("TAU Urban Acoustic Scenes"))
    assert labels(labelled) == {"airport": 16, "tram": 16}
    assert by(labelled, "split") == {"train": 16, "test": 16}
    assert {clip.speaker for clip in labelled.clips if clip.split == "test"} == {"paris-1"}
    assert "16 recordings are in neither part of fold 1 and are left out" in labelled.notes


def test_gtzan_leaves_its_broken_file_out_and_keeps_it_where_it_is_whole(unpack: Unpack) -> None:
    root = unpack("GTZAN")
    labelled = read_labelled_clips(root)
    assert labels(labelled) == {"blues": 8, "jazz": 7}
    assert any("jazz.00054.wav is known to be broken" in note for note in labelled.notes)
    fill(root, ["genres_original/jazz/jazz.00054.wav"])
    assert labels(read_labelled_clips(root)) == {"blues": 8, "jazz": 8}


def test_birdclef_leaves_species_of_one_recording_out(unpack: Unpack) -> None:
    labelled = read_labelled_clips(unpack("BirdCLEF"))
    assert labels(labelled) == {"afrsil1": 8, "akepa1": 8}
    assert any("1 clips are left out: maupar" in note for note in labelled.notes)
    assert {clip.speaker for clip in labelled.clips} == {f"author {n}" for n in range(8)}
    assert "speaker" not in labelled.columns
    assert "secondary_labels are left aside" in labelled.notes[0]


def test_birdclef_of_2021_has_the_species_in_the_folder_alone(tmp_path: Path) -> None:
    species = enumerate(("acafly", "amecro"))
    names = [f"{label}/XC{i}{n}.ogg" for i, label in species for n in range(3)]
    fill(tmp_path / "train_short_audio", names)
    write(
        tmp_path / "train_metadata.csv",
        "primary_label,secondary_labels,filename",
        *(f"{name.split('/')[0]},[],{name.split('/')[1]}" for name in names),
    )
    labelled = read_labelled_clips(tmp_path)
    assert [
        clip.path.relative_to(tmp_path / "train_short_audio").as_posix() for clip in labelled.clips
    ] == names
    assert all(clip.path.is_file() for clip in labelled.clips)


@pytest.mark.parametrize(
    ("start", "label"), [(0.01, "none"), (0.2, "crackle"), (0.4, "wheeze"), (0.6, "both")]
)
def test_icbhi_has_a_clip_for_each_breathing_cycle(
    unpack: Unpack, start: float, label: str
) -> None:
    labelled = read_labelled_clips(unpack("ICBHI"))
    assert {clip.label for clip in labelled.clips if clip.start_seconds == start} == {label}
    assert len(labelled.clips) == 32
    assert by(labelled, "split") == {"train": 20, "test": 12}
    assert {clip.speaker for clip in labelled.clips} == {str(p) for p in range(101, 109)}
    assert {"start", "end"} <= labelled.columns


def test_icbhi_finds_its_split_beside_the_folder_or_says_where_to_put_it(unpack: Unpack) -> None:
    root = unpack("ICBHI")
    split = root / "ICBHI_challenge_train_test.txt"
    split.rename(root.parent / "ICBHI_Challenge_train_test.txt")
    assert by(read_labelled_clips(root), "split") == {"train": 20, "test": 12}
    (root.parent / "ICBHI_Challenge_train_test.txt").unlink()
    labelled = read_labelled_clips(root)
    assert by(labelled, "split") == {"": 32}
    assert any("the official split is not here" in note for note in labelled.notes)


def test_icbhi_names_a_line_that_is_no_cycle_and_a_recording_without_one(unpack: Unpack) -> None:
    root = unpack("ICBHI")
    write(root / "101_1b1_Al_sc_Meditron.txt", "0.1\t0.2\t0\t0", "0.2 0.4 2 0", "0.9\t0.5\t1\t1")
    (root / "102_1b1_Al_sc_Meditron.txt").unlink()
    problems = read_labelled_clips(root).problems
    assert [(p.line, p.filename) for p in problems] == [
        (2, "101_1b1_Al_sc_Meditron.txt"),
        (3, "101_1b1_Al_sc_Meditron.txt"),
        (0, "102_1b1_Al_sc_Meditron.wav"),
    ]


def test_columns_are_refused_where_labels_are_in_names(unpack: Unpack) -> None:
    for name in ("RAVDESS", "Speech Commands", "ICBHI"):
        with pytest.raises(LabelsError, match="are in the names of its files"):
            read_labelled_clips(unpack(name), CsvOptions(columns={"label": "emotion"}))
