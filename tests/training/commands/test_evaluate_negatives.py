"""``earful evaluate --negatives``: what it prints, writes into the model, and refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.errors import EarfulError
from earful.models.bundle.bundle import open_bundle
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.api.model import load
from earful.training.api.evaluate import evaluate
from tests.conftest import RECORDINGS
from tests.fixtures.chords import Chords
from tests.training.commands.conftest import RunCommand
from tests.training.conftest import OTHER_WORDS, RATE_HZ

MODEL = SHIPPED_MODELS["digits-small"]  # the faster one

pytestmark = pytest.mark.slow


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the shipped model, which may be changed."""
    return shutil.copy(MODEL, tmp_path / "my digits.onnx")


def write_noise(path: Path, seconds: float, level: float = 0.1, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = level * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    soundfile.write(path, sound, RATE_HZ)
    return path


def refused(earful: RunCommand, *arguments: object) -> str:
    result = earful("evaluate", *arguments)
    assert isinstance(result.exception, EarfulError), (result.output, result.exception)
    assert result.stdout == ""
    message = str(result.exception)
    assert "\n" not in message
    return message


def test_false_accepts_are_printed_drawn_and_in_the_json(
    earful: RunCommand,
    model: Path,
    spoken_digits: Path,
    spoken_words: Path,
    tmp_path: Path,
) -> None:
    write_noise(tmp_path / "noise" / "day" / "fan.wav", 20)
    before = model.read_bytes()
    arguments = (model, spoken_digits, "--negatives", spoken_words)
    more = ("--negatives", tmp_path / "noise", "--out", tmp_path / "report")
    result = earful("evaluate", *arguments, *more)
    assert result.exit_code == 0
    n_words = 4 * len(OTHER_WORDS)
    assert f"  {n_words} of at most 10 s, one after another as one stream, with" in result.stdout
    assert "  1 longer than 10 s, each as a stream of its own" in result.stdout
    assert f"  of {n_words} other clips " in result.stdout
    assert "h needed)" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert model.read_bytes() == before
    picture = tmp_path / "report" / "false_accepts.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    printed = json.loads(earful("evaluate", *arguments, *more, "--json").stdout)
    measured = printed["false_accepts"]
    assert measured == written["false_accepts"]
    threshold = open_bundle(model).metadata.rejection_threshold
    assert measured["at_threshold"]["threshold"] == threshold
    assert measured["chosen"] is None
    assert (measured["clips"], measured["recordings"]) == (n_words, 1)
    assert 20 / 3600 < measured["hours"] < (20 + 2.5 * n_words) / 3600
    assert [rate["wanted_per_hour"] for rate in measured["rates"]] == [0.5, 1, 5, 20]
    assert len({len(values) for values in measured["curve"].values()}) == 1
    point = measured["at_threshold"]
    assert point["false_accepts"] == sum(measured["accepted_labels"].values()) > 0
    assert point["per_hour"] == pytest.approx(point["false_accepts"] / measured["hours"])
    assert point["per_hour"] < point["per_hour_upper95"]
    confidence = written["confidence"]
    opened = load(model)
    answers = [
        opened.classify(path, reject=True).label
        for path in (spoken_words.parent / "clips").iterdir()
    ]
    assert confidence["other_clips_rejected"] == answers.count("unknown") > 0
    assert confidence["other_clips"] == n_words == len(answers)
    assert 1 - point["misses"] <= printed["accuracy"]


@pytest.fixture(scope="module")
def talk(spoken_words: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All other words in one recording."""
    pause = np.zeros(round(0.5 * RATE_HZ))
    parts = [pause]
    for path in sorted((spoken_words.parent / "clips").iterdir()):
        parts += [soundfile.read(path)[0], pause]
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate(parts), RATE_HZ)
    return path


def test_the_threshold_of_a_rate_goes_into_the_model_and_into_its_events(
    earful: RunCommand, model: Path, spoken_digits: Path, talk: Path
) -> None:
    hours = soundfile.info(talk).duration / 3600
    before = load(model)
    wanted = round(len(before.events(talk)) / hours / 2)
    model.chmod(0o640)
    command = ("evaluate", model, spoken_digits, "--negatives", talk)
    result = earful(*command, "--false-accepts-per-hour", wanted)
    assert result.exit_code == 0, (result.output, result.exception)
    old, new = open_bundle(MODEL), open_bundle(model)
    was = f"{old.metadata.rejection_threshold:.2f}"
    assert f"for at most {wanted} an hour is now that of the model; it was {was}" in result.stdout
    assert f"hours are too few to be certain of {wanted}" not in result.stderr
    assert "--reject" in result.stderr
    assert [path.name for path in model.parent.iterdir()] == [model.name]
    assert model.stat().st_mode & 0o777 == 0o640

    assert new.metadata.rejection_threshold > old.metadata.rejection_threshold
    for name, value in old.metadata.to_props().items():
        if name != "earful.rejection_threshold":
            assert new.metadata.to_props()[name] == value
    clips = np.random.default_rng(3).standard_normal((5, RATE_HZ)).astype(np.float32) / 10
    for expected, found in zip(
        *(bundle.session.run(None, {"waveform": clips}) for bundle in (old, new)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)

    after, threshold = load(model), new.metadata.rejection_threshold
    assert len(after.events(talk)) / hours <= wanted
    lower = float(np.nextafter(np.float32(threshold), np.float32(0)))
    assert len(after.events(talk, min_score=lower)) / hours > wanted
    again = json.loads(earful(*command, "--json").stdout)
    assert again["false_accepts"]["at_threshold"]["false_accepts"] == len(after.events(talk))


def test_too_few_hours_are_noted_and_the_api_does_the_same(
    model: Path, spoken_digits: Path, talk: Path
) -> None:
    result = evaluate(model, spoken_digits, negatives=talk, false_accepts_per_hour=2)
    assert result.false_accepts is not None
    assert "hours are too few to be certain of 2 an hour: that takes 1.5 hours" in result.notes[-1]
    chosen = open_bundle(model).metadata.rejection_threshold
    assert chosen == result.false_accepts.at_threshold.threshold
    assert result.confidence.operating_point.threshold == chosen
    both = evaluate(model, spoken_digits, negatives=[talk, str(talk)])
    assert both.false_accepts is not None
    assert both.false_accepts.hours == result.false_accepts.hours
    assert "copies of other negatives, which count once: 1" in both.notes[-1]


def test_an_unreachable_rate_names_the_lowest_and_its_loss(
    earful: RunCommand, model: Path, spoken_digits: Path, talk: Path, tmp_path: Path
) -> None:
    # Digits as negatives, under other names: their scores are as high as those of the labelled.
    digits = []
    for path in sorted((spoken_digits.parent / "clips").iterdir()):
        digits += [soundfile.read(path)[0], np.zeros(RATE_HZ // 2)]
    soundfile.write(tmp_path / "numbers.wav", np.concatenate(digits), RATE_HZ)
    one = tmp_path / "one.csv"
    [row] = [line for line in spoken_digits.read_text().splitlines() if ",0," in line][:1]
    one.write_text(f"filename,label,speaker\n{spoken_digits.parent}/{row}\n")
    before = model.read_bytes()
    message = refused(
        earful, model, one, "--negatives", tmp_path / "numbers.wav", "--false-accepts-per-hour", 1
    )
    assert "no threshold gives at most 1 false accepts an hour" in message
    assert "the lowest rate is " in message
    assert "0.0 % of the labelled clips are missed" in message
    assert model.read_bytes() == before


def test_unreadable_negatives_are_listed_and_the_rest_is_measured(
    earful: RunCommand, model: Path, spoken_digits: Path, tmp_path: Path
) -> None:
    write_noise(tmp_path / "in" / "a.wav", 12)
    (tmp_path / "in" / "b.wav").write_bytes(b"no sound at all")
    (tmp_path / "in" / "notes.txt").write_text("not audio")
    csv_path = tmp_path / "more.csv"
    csv_path.write_text("file\ngone.wav\nin/a.wav\n")
    result = earful(
        "evaluate", model, spoken_digits, "--negatives", tmp_path / "in", "--negatives", csv_path
    )
    assert result.exit_code == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert "gone.wav: no such file" in failed[0] + failed[1]
    assert "b.wav: not audio" in failed[0] + failed[1]
    assert "copies of other negatives, which count once: 1" in result.stderr


def test_bad_negatives_are_refused_in_one_sentence(
    earful: RunCommand, model: Path, spoken_digits: Path, spoken_words: Path, tmp_path: Path
) -> None:
    command = (model, spoken_digits, "--negatives")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "silence.wav", np.zeros(20 * RATE_HZ), RATE_HZ)
    write_noise(tmp_path / "hush.wav", 3, level=0.0003)
    digits = [line for line in spoken_digits.read_text().splitlines() if ",7," in line]
    folder = spoken_digits.parent
    mixed = tmp_path / "mixed.csv"
    mixed.write_text("\n".join(["filename,label,speaker", *digits, "a.wav,gong,x"]))
    (tmp_path / "no rows.csv").write_text("filename\n")
    for path, words in (
        (tmp_path / "empty", "empty has no sound file"),
        (tmp_path / "text", "text has no sound file"),
        (tmp_path / "no rows.csv", "has a header and no rows"),
        (tmp_path / "emty", f"(did you mean '{tmp_path / 'empty'}'?)"),
        (tmp_path / "broken.wav", "none of 1 negatives can be read"),
        (tmp_path / "silence.wav", "silent throughout"),
        (tmp_path / "hush.wav", "silent throughout"),
        (mixed, "4 clips of the model's labels (4 x '7')"),
        (spoken_digits, "40 clips of the model's labels (4 x '0', "),
        (folder / "clips", "40 negatives are labelled clips of this evaluation"),
    ):
        assert words in refused(earful, *command, path)


@pytest.mark.parametrize("wanted", ["0", "-1", "nan", "inf"])
def test_rates_that_mean_nothing_are_refused(
    earful: RunCommand, model: Path, spoken_digits: Path, talk: Path, wanted: str
) -> None:
    command = (model, spoken_digits, "--negatives", talk, "--false-accepts-per-hour", wanted)
    assert "a number above 0" in refused(earful, *command)
    assert "give some as --negatives" in refused(
        earful, model, spoken_digits, "--false-accepts-per-hour", 1
    )


def test_a_threshold_is_never_written_into_the_registry(
    earful: RunCommand, model: Path, spoken_digits: Path, talk: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    done = earful("models", "register", "digits", model, "--registry", registry)
    assert done.exit_code == 0, (done.output, done.exception)
    more = (spoken_digits, "--negatives", talk, "--false-accepts-per-hour", 100)
    version = registry / "digits" / "versions" / "1" / "model.onnx"
    before = version.read_bytes()
    assert "earful models register digits COPY.onnx" in refused(earful, version, *more)
    message = refused(earful, "digits@1", *more, "--registry", registry)
    assert "digits@1 is none; copy the file of a version" in message
    assert version.read_bytes() == before
    by_name = earful("evaluate", "digits@1", *more[:3], "--registry", registry)
    assert by_name.exit_code == 0, (by_name.output, by_name.exception)
    assert "false accepts: " in by_name.stdout


def test_multi_label_models_have_no_false_accepts(
    earful: RunCommand, chords: Chords, talk: Path
) -> None:
    message = refused(earful, chords.model, chords.labels_csv, "--negatives", talk)
    assert "predict one label per clip" in message


def test_real_words_and_noises_are_accepted_more_often_than_at_a_chosen_rate(
    earful: RunCommand, model: Path, tmp_path: Path
) -> None:
    voices = RECORDINGS / "voices"
    if not (voices / "digits_dev" / "labels.csv").is_file():
        pytest.skip(f"needs the real recordings in {voices}")
    labels = (voices / "digits_dev" / "labels.csv").read_text().splitlines()
    rows = [row.replace("clips/", f"{voices}/digits_dev/clips/", 1) for row in labels[1::10]]
    (tmp_path / "digits.csv").write_text("\n".join([labels[0], *rows]))
    result = earful(
        *("evaluate", model, tmp_path / "digits.csv", "--json"),
        *("--negatives", voices / "noises", "--false-accepts-per-hour", 100),
    )
    assert result.exit_code == 0, (result.output, result.exception)
    measured = json.loads(result.stdout)["false_accepts"]
    assert measured["recordings"] >= 10
    assert measured["at_threshold"]["per_hour"] <= 100
    assert measured["at_threshold"]["misses"] < 0.6
    before = measured["curve"]["per_hour"][0]
    assert before > 100
