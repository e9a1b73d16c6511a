"""Maps and filters in the report of a run: exact or by gradients, and in their place."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from earful.data.dataset.dataset import Dataset
from earful.data.features.extractor import FeatureExtractor
from earful.data.features.kinds import FeatureKind
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.reports.run_report.activation_maps import ActivationMapper, LabelMap
from earful.training.reports.run_report.filters import EXAMPLES, MAX_FILTERS, report_filters
from earful.training.reports.run_report.map_pictures import draw_map, map_clips
from earful.training.reports.run_report.page import RunReportOptions, write_run_report
from earful.training.reports.run_report.predictions import predict_split
from earful.training.reports.run_report.read_run import read_run
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import Checkpoint, rebuild_network
from earful.training.trainer.trainer import fit

CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=2e-3)
KINDS: tuple[FeatureKind, ...] = ("log_mel", "mfcc")
TrainedNetwork = Callable[[str, FeatureKind], Checkpoint]


@pytest.fixture(scope="module")
def trained(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainedNetwork:
    """``trained(model, features)``: the checkpoint of an epoch, trained when it is first wanted."""

    @cache
    def train(model: str, kind: FeatureKind) -> Checkpoint:
        config = replace(CONFIG, model=model, features=kind, epochs=1)
        return fit(tones, tmp_path_factory.mktemp("run") / "run", config).checkpoint

    return train


@pytest.mark.parametrize("kind", KINDS)
def test_exact_maps_are_those_of_the_network(
    trained: TrainedNetwork, tones: Dataset, kind: FeatureKind
) -> None:
    """bcresnet has a position for each frame, so nothing is interpolated but the padding is cut."""
    checkpoint = trained("bcresnet", kind)
    mapper = ActivationMapper(checkpoint, tones)
    assert mapper.method == "activation"
    found = mapper.label_map(0, 1)
    frames = round(tones.clips["seconds"].iloc[0] * 8_000 / tones.features.hop_length)
    assert found.values.shape == (1, found.spectrogram.shape[1])
    assert found.spectrogram.shape[0] == tones.features.n_mels
    assert abs(found.spectrogram.shape[1] - frames) <= 1
    network, extractor = rebuild_network(checkpoint), FeatureExtractor(tones.features, kind)
    features = extractor(torch.from_numpy(tones.waveforms(np.array([0]))))
    with torch.inference_mode():
        whole = network.network.class_map(network.network.feature_map(network.normalise(features)))
        logit = network(features)[0, 1]
    first = 2_000 // tones.features.hop_length  # a quarter of a second of padding
    recorded = whole[0, 1, :, first : first + found.values.shape[1]]
    np.testing.assert_allclose(found.values, recorded, rtol=1e-4, atol=1e-5)
    bias = checkpoint.weights["network.head.bias"][1]
    assert float(whole[0, 1].mean() + bias) == pytest.approx(float(logit), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_add_up_to_the_rise_of_the_logit(
    trained: TrainedNetwork, tones: Dataset, kind: FeatureKind
) -> None:
    """From the quietest value of each bin to the clip ("completeness" in arXiv:1703.01365)."""
    checkpoint = trained("convrnn", kind)
    network = rebuild_network(checkpoint)
    extractor = FeatureExtractor(checkpoint.features, checkpoint.config.features)
    mapper = ActivationMapper(checkpoint, tones)
    assert mapper.method == "gradients"
    waveform = torch.from_numpy(tones.waveforms(np.array([5])))
    features = network.normalise(extractor(waveform))
    with torch.inference_mode():
        baseline = features.amin(dim=2, keepdim=True).expand_as(features)
        rise = network.network(features) - network.network(baseline)
    for label in range(3):
        shares = mapper._integrated_gradients(features, label)
        assert shares.shape[0] == (1 if kind == "mfcc" else tones.features.n_mels)
        assert shares.sum() == pytest.approx(float(rise[0, label]), rel=0.05, abs=0.05)


@pytest.mark.slow
def test_clips_are_the_surest_errors_and_one_of_each_label(tones: Dataset, tmp_path: Path) -> None:
    train_run(tones, tmp_path / "run", replace(CONFIG, epochs=1))
    run = read_run(tmp_path / "run")
    predictions = predict_split(run, tones, "test")
    wrong = np.arange(len(predictions.rows)) % 4 == 0
    expected = np.where(wrong[:, None], np.roll(predictions.predicted, 1, 1), predictions.predicted)
    predictions = replace(predictions, expected=expected)
    mapped = map_clips(ActivationMapper(run.best, tones), predictions, tones, 3, 10**9)
    assert mapped is not None
    assert len(mapped.incorrect) == min(3, wrong.sum())
    for clip in mapped.incorrect:
        assert [picture.is_true for picture in clip.pictures] == [False, True]
        assert clip.pictures[0].label == clip.predicted
    assert len({clip.predicted for clip in mapped.correct}) == len(
        np.unique(predictions.predicted[~wrong].argmax(axis=1))
    )
    assert all(len(clip.pictures) == 1 for clip in mapped.correct)
    size = mapped.incorrect[0].media_bytes
    limited = map_clips(ActivationMapper(run.best, tones), predictions, tones, 3, size)
    assert limited is not None
    assert limited.media_bytes <= size
    assert len(limited.incorrect) == 1


def test_the_picture_is_bright_where_the_network_listened() -> None:
    values = np.zeros((40, 60), np.float32)
    values[:20, 30:] = 1  # the lower half of the bins, the second half of the time
    uri = draw_map(LabelMap(values, np.zeros((40, 60), np.float32)))
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    image = imread(io.BytesIO(png), format="png")[..., :3].sum(axis=2)
    height, width = image.shape
    parts = [
        [float(np.median(image[rows, columns])) for columns in (slice(0, 120), slice(200, width))]
        for rows in (slice(0, 56), slice(72, height))
    ]
    assert parts[1][1] > 3 * max(parts[0][0], parts[0][1], parts[1][0])


@pytest.mark.slow
def test_a_filter_for_high_bins_is_excited_by_high_tones(
    trained: TrainedNetwork, tones: Dataset
) -> None:
    """The first convolution of convrnn reads bins as channels: filter 0 gets weights of ours."""
    checkpoint = trained("convrnn", "log_mel")
    weights = {name: tensor.clone() for name, tensor in checkpoint.weights.items()}
    kernel = weights["network.blocks.0.weight"]  # (filters, bins, frames)
    kernel[0] = 0
    log_mel = tones.array("log_mel")
    high = np.asarray(log_mel[np.flatnonzero(tones.clips["label"] == "high")]).mean(axis=(0, 2))
    low = np.asarray(log_mel[np.flatnonzero(tones.clips["label"] == "low")]).mean(axis=(0, 2))
    kernel[0, int((high - low).argmax()), 2] = 1
    kernel[0, int((low - high).argmax()), 2] = -1
    rows = np.arange(len(tones.clips))
    first, last = report_filters(replace(checkpoint, weights=weights), tones, rows, 10**9)
    assert (first.title, last.title) == ("First convolution", "Last convolution")
    assert (first.name, first.total) == ("blocks.0", 64)
    assert len(first.filters) <= MAX_FILTERS
    found = first.filters[0]
    assert (found.number, found.label, found.count) == (0, "high", 10)
    assert {example.label for example in found.examples} == {"high"}
    assert len(found.examples) == EXAMPLES
    for example in found.examples:
        assert 0 <= example.start_seconds < example.end_seconds <= 1
        assert example.end_seconds - example.start_seconds == pytest.approx(0.3, abs=0.02)


@pytest.mark.slow
def test_filters_are_thinned_out_evenly_to_fit(trained: TrainedNetwork, tones: Dataset) -> None:
    rows = np.arange(30)
    [complete, _] = report_filters(trained("cnn", "mfcc"), tones, rows, 10**9)
    limit = complete.media_bytes  # half of it for each layer
    [thinned, *_] = report_filters(trained("cnn", "mfcc"), tones, rows, limit)
    assert thinned.media_bytes <= limit / 2
    numbers = [each.number for each in thinned.filters]
    assert len(complete.filters) / 3 < len(numbers) < len(complete.filters)
    assert numbers[0] == 0
    assert numbers[-1] > 0.7 * complete.total


@pytest.mark.slow
def test_a_fitted_baseline_says_that_it_has_no_map(tones: Dataset, tmp_path: Path) -> None:
    train_run(tones, tmp_path / "run", default_config("majority"))
    options = RunReportOptions(tones.folder, noise_test=False)
    write_run_report(tmp_path / "run", tmp_path / "r.html", options)
    text = (tmp_path / "r.html").read_text()
    assert "There is no map of majority" in text
    assert "<h2>Filters" not in text


@pytest.mark.slow
def test_filters_of_the_speech_encoder_are_those_of_its_convolutions(
    tones: Dataset, tmp_path: Path
) -> None:
    """The normalisation that follows its last one is that of the pooled statistics."""
    train_run(tones, tmp_path / "run", replace(default_config("encoder-finetuned"), epochs=1))
    checkpoint = read_run(tmp_path / "run").best
    layers = report_filters(checkpoint, tones, np.arange(30), 10**9)
    assert [layer.name for layer in layers] == ["encoder.layers.0", "encoder.layers.43"]
    weights = checkpoint.weights
    for layer in layers:
        assert layer.total == len(weights[f"network.{layer.name}.weight"])
        assert all(example.end_seconds <= 1 for each in layer.filters for example in each.examples)


@pytest.mark.slow
def test_pictures_of_filters_are_buttons_that_play(tones: Dataset, tmp_path: Path) -> None:
    """A player of the browser is too narrow here for its button."""
    config = replace(CONFIG, model="cnn", features="mfcc", epochs=1)
    train_run(tones, tmp_path / "run", config)
    options = RunReportOptions(tones.folder, noise_test=False)
    write_run_report(tmp_path / "run", tmp_path / "r.html", options)
    page = (tmp_path / "r.html").read_text()
    filters = page.split("<h2>Filters")[1].split("<h2>")[0]
    assert filters.count("<audio ") == filters.count('<button class="play"') > EXAMPLES
    assert "<audio controls" not in filters
