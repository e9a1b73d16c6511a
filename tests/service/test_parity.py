"""PyTorch, the ONNX file, the command line and HTTP give the same scores for a file."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import Result

from earful.data.audio.decode import decode
from earful.data.audio.windows import loudest_clip
from earful.models.bundle.bundle import open_bundle
from earful.models.layers.normalise import WaveformClassifier
from earful.service.classifier import Classifier
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint, rebuild_network
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav
from tests.service.conftest import Client

TOLERANCE = 1e-4
RECORDINGS = {
    "short": wav(tone("low", 0.3)),
    "a clip": wav(overlay_at(tone("mid"), 0.3, noise(1.0, 0.02))),
    "long": wav(overlay_at(tone("high"), 1.1, noise(3.0, 0.02))),
    "quiet": wav(tone("low", 0.5, level=0.01)),
    "noise": wav(noise(1.0, 0.1)),
    "another rate, stereo": wav(np.stack([tone("mid", rate_hz=44_100)] * 2, axis=1), 44_100),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_pytorch_onnx_cli_and_http_agree(
    trained: tuple[Path, Path],
    client: Client,
    earful: Callable[..., Result],
    tmp_path: Path,
    name: str,
) -> None:
    model, run = trained
    path = tmp_path / "one.wav"
    path.write_bytes(RECORDINGS[name])
    expected = pytorch_probabilities(run, path)

    bundle = open_bundle(model)
    clip = loudest_clip(*decode_for_model(path, run))
    onnx = bundle.session.run(["probabilities"], {"waveform": clip[None]})[0][0]
    np.testing.assert_allclose(onnx, expected, atol=TOLERANCE)

    prediction = Classifier(bundle).classify_file(path)
    np.testing.assert_allclose(prediction.best.scores, expected, atol=TOLERANCE)

    labels = bundle.metadata.labels
    table = earful(
        "classify", path, "--model", model, "--mode", "file", "--top-k", len(labels)
    ).stdout
    [row] = csv.DictReader(io.StringIO(table))
    in_cli = {row["label"]: row["score"]}
    in_cli |= {row[f"label_{k}"]: row[f"score_{k}"] for k in range(2, len(labels) + 1)}
    answer = client.post("/v1/classify", content=RECORDINGS[name]).json()["results"][0]
    in_http = {entry["label"]: entry["score"] for entry in answer["scores"]}
    for scores in (in_cli, in_http):
        assert set(scores) == set(labels)
        np.testing.assert_allclose([float(scores[n]) for n in labels], expected, atol=TOLERANCE)
    assert row["label"] == answer["label"] == prediction.label == labels[int(expected.argmax())]


def decode_for_model(path: Path, run: Path) -> tuple[np.ndarray, int]:
    """The waveform at the model's rate, and the number of samples of a clip."""
    features = load_checkpoint(run / BEST_CHECKPOINT).features
    return decode(path.read_bytes(), features.sample_rate_hz).waveform, features.clip_samples


def pytorch_probabilities(run: Path, path: Path) -> np.ndarray:
    """Probabilities (labels,) of the network in the checkpoint, without ONNX."""
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
    assert checkpoint.calibration is not None
    whole = WaveformClassifier(
        checkpoint.features,
        checkpoint.config.features,
        rebuild_network(checkpoint),
        checkpoint.calibration.temperature,
        checkpoint.score_kind,
    ).eval()
    with torch.inference_mode():
        probabilities, _ = whole(torch.from_numpy(loudest_clip(*decode_for_model(path, run)))[None])
    return probabilities[0].numpy()
