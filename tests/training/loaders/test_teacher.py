"""A teacher: its answers are the targets, and one that does not fit is refused with the reason."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.dataset.dataset import Dataset
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.training.api.train import train
from earful.training.config.train_config import TrainingError, default_config
from earful.training.export.export import export
from earful.training.export.rejection_threshold import write_rejection_threshold
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.loaders.loader import augmented_waveforms
from earful.training.loaders.sampler import BatchPlan
from earful.training.loaders.teacher import TEACHER_SHARE, Teacher
from earful.training.runs.train_run import train_run
from tests.fixtures.claimed_cuda import CUDA, claimed_cuda, values_of

CPU = torch.device("cpu")
QUICK = replace(default_config("tcresnet"), epochs=1, batch_size=16, options={"width": 16})


@pytest.fixture(scope="module")
def teacher(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    return fit_teacher(tones, tmp_path_factory.mktemp("teacher"), c=0.1)


def fit_teacher(tones: Dataset, folder: Path, c: float) -> Teacher:
    train_run(tones, folder / "run", replace(default_config("logistic"), options={"c": c}))
    return Teacher.open(str(export(folder / "run", folder / "teacher.onnx").path))


def test_targets_are_its_answers_and_a_share_of_the_label(tones: Dataset, teacher: Teacher) -> None:
    rows = tones.rows("val")
    clips = np.asarray(tones.waveforms(rows))
    order = tuple(reversed(tones.labels))
    labels = torch.eye(3)[[order.index(tones.labels[i]) for i in tones.targets[rows]]]
    taught = teacher.teach(torch.from_numpy(clips), labels, order)
    answers = Classifier(teacher.bundle).run(clips)[:, ::-1]
    expected = TEACHER_SHARE * answers + (1 - TEACHER_SHARE) * labels.numpy()
    np.testing.assert_allclose(taught.numpy(), expected, atol=1e-6)


def test_it_teaches_clips_on_cuda(tones: Dataset, teacher: Teacher) -> None:
    waveforms = torch.from_numpy(np.asarray(tones.waveforms(tones.rows("val"))))
    labels = torch.full((len(waveforms), 3), 1 / 3)
    expected = teacher.teach(waveforms, labels, tones.labels)
    with claimed_cuda():
        taught = teacher.teach(waveforms.to(CUDA), labels.to(CUDA), tones.labels)
        assert taught.device.type == "cuda"
    torch.testing.assert_close(values_of(taught), expected)


def test_it_answers_the_augmented_clip(tones: Dataset, teacher: Teacher) -> None:
    plan = BatchPlan(64, seed=1)

    def read(auxiliary: AuxiliaryData, *, augment: bool) -> tuple[torch.Tensor, torch.Tensor]:
        config = replace(QUICK, augment=augment, mixup=0.0)
        batches = list(augmented_waveforms(tones, auxiliary, config, CPU).batch_shards(plan))
        return (
            torch.cat([batch.features for batch in batches]),
            torch.cat([batch.targets for batch in batches]),
        )

    features, taught = read(AuxiliaryData(teacher=teacher), augment=True)
    plain_features, labels = read(AuxiliaryData(), augment=True)
    torch.testing.assert_close(features, plain_features)
    torch.testing.assert_close(taught.sum(1), torch.ones(len(taught)))
    _, taught_of_clean = read(AuxiliaryData(teacher=teacher), augment=False)
    _, labels_of_clean = read(AuxiliaryData(), augment=False)
    assert torch.equal(labels, labels_of_clean)  # the same clips in the same order
    assert (taught - taught_of_clean).abs().amax(1).median() > 0.01


@pytest.mark.slow
def test_a_run_resumes_with_its_teacher_only(
    tones: Dataset, teacher: Teacher, tmp_path: Path
) -> None:
    run, taught = tmp_path / "run", AuxiliaryData(teacher=teacher)
    train_run(tones, run, QUICK, auxiliary=taught)
    rewritten = shutil.copy(teacher.bundle.path, tmp_path / "rewritten.onnx")
    write_rejection_threshold(rewritten, 0.123)
    same_answers = AuxiliaryData(teacher=Teacher.open(str(rewritten)))
    train_run(tones, run, QUICK, auxiliary=same_answers, resume=True)
    with pytest.raises(TrainingError, match="it had a --teacher"):
        train_run(tones, run, QUICK, resume=True)
    other = AuxiliaryData(teacher=fit_teacher(tones, tmp_path / "other", c=10.0))
    with pytest.raises(TrainingError, match="another --teacher"):
        train_run(tones, run, QUICK, auxiliary=other, resume=True)


def test_a_teacher_that_does_not_fit_is_refused(
    tones: Dataset, short_tones: Dataset, teacher: Teacher
) -> None:
    refused = (
        (tones, default_config("logistic"), "answers augmented clips"),
        (tones, default_config("cnn"), "or --augment"),
        (tones, replace(QUICK, loss="bce"), "softmax scores, which --loss bce"),
        (short_tones, QUICK, "prepare it with --sample-rate 8000 --clip-seconds 1"),
    )
    for dataset, config, message in refused:
        with pytest.raises(TrainingError, match=message):
            teacher.check(dataset, config)
    with pytest.raises(TrainingError, match="it lacks 'high', 'low', 'mid'; it has '0', '1'"):
        Teacher.open(str(SHIPPED_MODEL)).check(tones, QUICK)
    with pytest.raises(TrainingError, match="name the network that learns"):
        train(tones.folder, tones.folder.parent / "never", teacher=teacher.bundle.path)
