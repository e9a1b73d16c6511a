"""Every optimizer learns, failures keep the checkpoints, and runs resume from a mirror."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.errors import EarfulError
from earful.models.layers.dropout import Dropout
from earful.models.networks.cnn import Cnn
from earful.models.networks.zoo import ZOO
from earful.training.config.overrides import apply_overrides, parse_settings
from earful.training.config.train_config import (
    Optimizer,
    TrainConfig,
    TrainingError,
    default_config,
)
from earful.training.runs.train_run import adapt_to_dataset
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    EpochRecord,
    load_checkpoint,
    save_checkpoint,
)
from earful.training.trainer.lr_finder import find_learning_rate
from earful.training.trainer.trainer import fit

QUICK = replace(default_config("mlp"), epochs=6, batch_size=16, patience=20)
# Learning rates that suit the three tones.
RATES: dict[Optimizer, float] = {
    "sgd": 0.1,
    "momentum": 0.03,
    "nesterov": 0.03,
    "adagrad": 0.03,
    "adadelta": 1.0,
    "rmsprop": 3e-3,
    "adam": 3e-3,
    "adamw": 3e-3,
    "lbfgs": 0.5,
}


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_every_optimizer_learns_and_resumes(
    tones: Dataset, tmp_path: Path, optimizer: Optimizer
) -> None:
    config = replace(QUICK, optimizer=optimizer, learning_rate=RATES[optimizer])
    history = fit(tones, tmp_path / "whole", config).checkpoint.history
    assert history[-1].val_loss < 0.7 * np.log(3)
    fit(tones, tmp_path / "resumed", replace(config, epochs=3))
    resumed = fit(tones, tmp_path / "resumed", config, resume=True).checkpoint.history
    assert [record.loss for record in resumed] == [record.loss for record in history]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "focal"},
        {"loss": "bce"},
        {"balance": "weights"},
        {"balance": "sampling"},
        {"l1": 1e-3},
        {"weight_decay": 1e-2},
        {"label_smoothing": 0.1},
        {"mixup": 0.3},
        {"schedule": "cosine"},
        {"schedule": "step"},
        {"schedule": "plateau"},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_every_training_option_learns(
    tones: Dataset, tmp_path: Path, changes: dict[str, object]
) -> None:
    config = replace(QUICK, learning_rate=3e-3, **changes)  # type: ignore[arg-type]
    result = fit(tones, tmp_path, config)
    assert result.checkpoint.best.val_accuracy is not None
    assert result.checkpoint.best.val_accuracy >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("model", "clips"), [("cnn", "short_tones"), ("crnn", "brief_tones")])
def test_lbfgs_trains_convolutional_networks(
    request: pytest.FixtureRequest, tmp_path: Path, model: str, clips: str
) -> None:
    config = replace(default_config(model), optimizer="lbfgs", learning_rate=0.5, epochs=1)
    dataset = request.getfixturevalue(clips)
    history = fit(dataset, tmp_path, replace(config, batch_size=40)).checkpoint.history
    assert np.isfinite(history[-1].loss)


def test_dataset_or_file_as_run_folder_is_refused(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is a dataset; give the run another folder"):
        fit(tones, tones.folder, QUICK)
    (tmp_path / "file").write_text("content")
    with pytest.raises(
        TrainingError, match=r"cannot be written to .*: .* is not a writable folder"
    ):
        fit(tones, tmp_path / "file" / "run", QUICK)
    assert (tmp_path / "file").read_text() == "content"


def test_l1_shrinks_the_weights(tones: Dataset, tmp_path: Path) -> None:
    def size(name: str, l1: float) -> float:
        weights = fit(tones, tmp_path / name, replace(QUICK, l1=l1)).network.network.parameters()
        return sum(w.detach().abs().sum().item() for w in weights if w.dim() > 1)

    assert size("with", 0.01) < 0.9 * size("without", 0.0)


def test_diverging_learning_rate_stops_and_keeps_the_checkpoint(
    tones: Dataset, tmp_path: Path
) -> None:
    wild = replace(QUICK, optimizer="sgd", learning_rate=1e9)
    with pytest.raises(TrainingError, match=r"diverges; lower --learning-rate .now 1e\+09"):
        fit(tones, tmp_path / "new", wild)
    assert not (tmp_path / "new").exists()
    # One batch an epoch: only the validation clips show the loss after the last step.
    late = replace(
        wild,
        batch_size=64,
        schedule="step",
        schedule_epochs=2,
        schedule_factor=1.0,
        epochs=4,
        learning_rate=1e-3,
    )
    run = tmp_path / "run"
    fit(tones, run, replace(late, epochs=2))
    saved = load_checkpoint(run / LAST_CHECKPOINT)
    exploded = {name: w * 1e30 if "head" in name else w for name, w in saved.weights.items()}
    save_checkpoint(run / LAST_CHECKPOINT, replace(saved, weights=exploded))
    before = [(run / name).read_bytes() for name in (BEST_CHECKPOINT, LAST_CHECKPOINT)]
    with pytest.raises(TrainingError, match="keeps the checkpoint after epoch 2"):
        fit(tones, run, late, resume=True)
    assert [(run / name).read_bytes() for name in (BEST_CHECKPOINT, LAST_CHECKPOINT)] == before


def test_non_finite_validation_loss_is_never_the_best(tones: Dataset, tmp_path: Path) -> None:
    features = np.array(tones.array("mfcc"))
    folder = tmp_path / "dataset"
    shutil.copytree(tones.folder, folder)
    features[tones.rows("val")[0]] = np.inf
    np.save(folder / "mfcc.npy", features)
    with pytest.raises(TrainingError, match="the validation loss is nan"):
        fit(open_dataset(folder), tmp_path / "run", QUICK)
    assert not (tmp_path / "run").exists()


class OutOfMemoryCnn(Cnn):
    """The classic network on a device with memory for six clips at once."""

    max_clips = 6
    checks_before_failing = 0  # larger batches that fit before the first that does not

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        if self.training:
            OutOfMemoryCnn.checks_before_failing -= 1
            if len(features) > self.max_clips and OutOfMemoryCnn.checks_before_failing < 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return super().embed(features)


def test_out_of_memory_batch_is_halved_and_reported(
    tones: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ZOO, "hungry", replace(ZOO["cnn"], network=OutOfMemoryCnn))
    notes: list[str] = []
    config = TrainConfig(model="hungry", epochs=2, batch_size=16, options={"dropout": 0.0})
    halved = fit(tones, tmp_path / "halved", config, on_note=notes.append).checkpoint
    assert [note.partition(":")[0] for note in notes] == [
        "out of GPU memory with 16 clips at once",
        "out of GPU memory with 8 clips at once",
    ]
    assert halved.config.shards == 4
    whole = fit(tones, tmp_path / "whole", replace(config, model="cnn")).checkpoint
    for one, other in zip(halved.history, whole.history, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)  # the same steps
    tight = replace(config, batch_size=8, optimizer="lbfgs", learning_rate=1.0)
    with pytest.raises(TrainingError, match="give a smaller --batch-size than 8"):
        fit(tones, tmp_path / "tight", tight)


def test_late_out_of_memory_loses_only_that_epoch(
    tones: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the second epoch, when Adam has moments, the epoch restarts with shards."""
    monkeypatch.setitem(ZOO, "hungry", replace(ZOO["cnn"], network=OutOfMemoryCnn))
    monkeypatch.setattr(OutOfMemoryCnn, "checks_before_failing", 4)  # three batches an epoch
    config = TrainConfig(model="hungry", epochs=3, batch_size=12, options={"dropout": 0.0})
    late = fit(tones, tmp_path / "late", config)
    whole = fit(tones, tmp_path / "whole", replace(config, model="cnn"))
    for one, other in zip(late.checkpoint.history, whole.checkpoint.history, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
    again = fit(tones, tmp_path / "late", config, resume=True)  # with the original settings
    assert again.checkpoint.config.shards == late.checkpoint.config.shards == 2


@pytest.mark.slow
def test_tcresnet_of_an_earlier_version_resumes(short_tones: Dataset, tmp_path: Path) -> None:
    """Its convolutions over time had no axis of bins, and their optimizer's state neither."""
    config = TrainConfig(model="tcresnet", epochs=2, batch_size=16, options={"dropout": 0.0})
    whole = fit(short_tones, tmp_path / "whole", config)
    fit(short_tones, tmp_path / "resumed", replace(config, epochs=1))
    saved = load_checkpoint(tmp_path / "resumed" / LAST_CHECKPOINT)
    weights = {name: without_bin_axis(value) for name, value in saved.weights.items()}
    states = {
        number: {name: without_bin_axis(value) for name, value in state.items()}
        for number, state in saved.optimizer["state"].items()
    }
    assert sum(value.dim() == 3 for value in weights.values()) > 9
    earlier = replace(saved, weights=weights, optimizer=saved.optimizer | {"state": states})
    save_checkpoint(tmp_path / "resumed" / LAST_CHECKPOINT, earlier)
    resumed = fit(short_tones, tmp_path / "resumed", config, resume=True)
    assert resumed.checkpoint.history[1].loss == pytest.approx(whole.checkpoint.history[1].loss)


def without_bin_axis(value: torch.Tensor) -> torch.Tensor:
    return value.squeeze(2) if value.dim() == 4 and value.shape[2] == 1 else value


@pytest.mark.parametrize("url", ["memory://runs/{}", "file://{}"])
def test_run_resumes_elsewhere_from_the_checkpoint_mirror(
    tones: Dataset, tmp_path: Path, url: str
) -> None:
    def stop_after_third(record: EpochRecord) -> None:
        if record.epoch == 3:
            raise KeyboardInterrupt

    whole = fit(tones, tmp_path / "whole", QUICK)
    mirror = url.format(f"{tmp_path}/mirror")
    with pytest.raises(KeyboardInterrupt):
        fit(tones, tmp_path / "here", QUICK, checkpoint_mirror=mirror, on_epoch=stop_after_third)
    with pytest.raises(TrainingError, match="mirror holds a run; continue it with --resume"):
        fit(tones, tmp_path / "new", QUICK, checkpoint_mirror=mirror)
    there = fit(tones, tmp_path / "there", QUICK, checkpoint_mirror=mirror, resume=True)
    assert there.resumed_after == 3
    first, second = (
        load_checkpoint(tmp_path / name / BEST_CHECKPOINT) for name in ("whole", "there")
    )
    assert all(torch.equal(first.weights[n], second.weights[n]) for n in first.weights)
    assert whole.checkpoint.best.epoch == there.checkpoint.best.epoch


def test_incompatible_settings_are_refused(tones: Dataset, tmp_path: Path) -> None:
    lbfgs = replace(QUICK, optimizer="lbfgs")
    with pytest.raises(TrainingError, match="lbfgs does not support weight_decay"):
        fit(tones, tmp_path, replace(lbfgs, weight_decay=0.1))
    with pytest.raises(TrainingError, match="250,000 parameters or fewer"):
        fit(tones, tmp_path, replace(lbfgs, model="tcresnet", features="log_mel"))
    with pytest.raises(TrainingError, match="lbfgs finds its step length by line search"):
        find_learning_rate(tones, lbfgs)
    with pytest.raises(EarfulError, match="cnn has no option width; it has activation, dropout"):
        apply_overrides(TrainConfig(), {"width": 2})
    with pytest.raises(TrainingError, match="no setting is called 'trees'"):
        parse_settings("mlp", ["trees=3"], "--set")
    with pytest.raises(
        TrainingError, match=r"optimizer is sgd or momentum .*'adan' \(did you mean 'adam'\?\)"
    ):
        parse_settings("cnn", ["optimizer=adan"], "--set")
    assert not any(tmp_path.iterdir())


def test_config_adapts_to_multi_label_data_and_several_processes(tones: Dataset) -> None:
    both = tones.label_matrix.copy()
    both[0] = True
    several = replace(tones, label_matrix=both)
    assert adapt_to_dataset(TrainConfig(), {}, several, 1).loss == "bce"
    assert (
        adapt_to_dataset(TrainConfig(loss="focal"), {"loss": "focal"}, several, 1).loss == "focal"
    )
    assert adapt_to_dataset(TrainConfig(), {}, tones, 4).shards == 4
    with pytest.raises(TrainingError, match="use --loss bce"):
        fit(several, Path("nowhere"), TrainConfig())


@pytest.mark.slow
def test_suggested_learning_rate_trains(tones: Dataset, tmp_path: Path) -> None:
    rate_curve = find_learning_rate(tones, QUICK, steps=120)
    assert 1e-4 < rate_curve.suggested < 1
    assert len(rate_curve.rates) == len(rate_curve.losses) == len(rate_curve.smoothed) <= 120
    result = fit(tones, tmp_path, replace(QUICK, learning_rate=rate_curve.suggested / 3))
    assert result.checkpoint.best.val_loss < 0.5 * np.log(3)
    rng = np.random.default_rng(0)
    shuffled_labels = replace(tones, label_matrix=rng.permutation(tones.label_matrix))
    with pytest.raises(TrainingError, match="give more --steps"):
        find_learning_rate(shuffled_labels, replace(QUICK, optimizer="sgd"), steps=60)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.2)
    x = torch.ones(64, 16, 19, 31).contiguous(memory_format=torch.channels_last)
    dropped = layer(x)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.2, abs=2e-3)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1.25], rel=1e-4)
    assert dropped.stride() == x.stride()
    share_per_channel = (dropped == 0).float().mean(dim=(0, 2, 3))
    assert float(share_per_channel.std()) < 0.01
    torch.manual_seed(0)
    assert torch.equal(layer(x), dropped)
    assert not torch.equal(layer(x), dropped)
    layer.eval()
    assert torch.equal(layer(x), x)
