"""Windows of recordings count alone, and the accuracy of whole recordings is said beside them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import default_config
from earful.training.evaluation.evaluator import evaluate_model
from earful.training.export.export import export
from earful.training.runs.train_run import train_run
from tests.training.conftest import PITCHES_HZ, RATE_HZ


@pytest.fixture(scope="module")
def model(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train_run(tones, folder / "run", default_config("logistic"))
    return export(folder / "run", folder / "model.onnx").path


def write_recordings(folder: Path, *, odd_second: bool = False) -> Path:
    """A recording of 3 s for each label; with ``odd_second`` a second of it is of another."""
    time = np.arange(RATE_HZ) / RATE_HZ
    rows = ["filename,label,start,end"]
    for label, pitch_hz in PITCHES_HZ.items():
        other_hz = PITCHES_HZ["low" if label == "high" else "high"]
        pitches = [pitch_hz, other_hz if odd_second else pitch_hz, pitch_hz]
        sound = np.concatenate([0.3 * np.sin(2 * np.pi * pitch * time) for pitch in pitches])
        noise = 0.03 * np.random.default_rng(1).standard_normal(len(sound))
        soundfile.write(folder / f"{label}.wav", sound + noise, RATE_HZ)
        rows += [f"{label}.wav,{label},{n},{n + 1}" for n in range(3)]
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder / "labels.csv"


def test_recordings_are_judged_by_the_mean_score_of_their_parts(
    model: Path, tmp_path: Path
) -> None:
    evaluation = evaluate_model(model, write_recordings(tmp_path, odd_second=True))
    assert evaluation.metrics.accuracy == pytest.approx(6 / 9)
    assert (
        "note: the 9 clips are parts of 3 recordings and count alone; by the mean score of its "
        "parts, 3 of 3 recordings are correct (100.0 %)"
    ) in evaluation.notes


def test_whole_files_and_recordings_of_several_labels_get_no_such_note(
    model: Path, tmp_path: Path
) -> None:
    labels = write_recordings(tmp_path)
    labels.write_text("filename,label\n" + "".join(f"{n}.wav,{n}\n" for n in PITCHES_HZ))
    assert not any("parts of" in note for note in evaluate_model(model, labels).notes)
    labels.write_text("filename,label,start,end\nlow.wav,low,0,1\nlow.wav,high,1,2\n")
    assert not any("parts of" in note for note in evaluate_model(model, labels).notes)
