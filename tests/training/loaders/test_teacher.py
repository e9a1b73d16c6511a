"""A teacher: its answers are the targets, and one that does not fit is refused with the reason."""

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
from earful.training.loaders.auxiliary_data import AuxiliaryData
from earful.training.loaders.loader import augmented_waveforms
from earful.training.loaders.sampler import BatchPlan
from earful.training.loaders.teacher import TEACHER_SHARE, Teacher
from earful.training.runs.train_run import train_run

CPU = torch.device("cpu")
QUICK = replace(default_config("tcresnet"), epochs=1, batch_size=16, options={"width": 16})


@pytest.fixture(scope="module")
def teacher(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    run = tmp_path_factory.mktemp("teacher") / "run"
    train_run(tones, run, default_config("logistic"))
    return Teacher.open(str(export(run, run.parent / "teacher.onnx").path))


def test_targets_are_its_answers_and_a_share_of_the_label(tones: Dataset, teacher: Teacher) -> None:
    rows = tones.rows("val")
    clips = np.asarray(tones.waveforms(rows))
    order = tuple(reversed(tones.labels))
    labels = torch.eye(3)[[order.index(tones.labels[i]) for i in tones.targets[rows]]]
    taught = teacher.teach(torch.from_numpy(clips), labels, order)
    answers = Classifier(teacher.bundle).run(clips)[:, ::-1]
    expected = TEACHER_SHARE * answers + (1 - TEACHER_SHARE) * labels.numpy()
    np.testing.assert_allclose(taught.numpy(), expected, atol=1e-6)


def test_it_answers_the_augmented_clip(tones: Dataset, teacher: Teacher) -> None:
    config = replace(QUICK, augment_strength="strong", mixup=0.0)
    plan = BatchPlan(64, seed=1)

    def read(auxiliary: AuxiliaryData) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(augmented_waveforms(tones, auxiliary, config, CPU).batch_shards(plan))
        return (
            torch.cat([batch.features for batch in batches]),
            torch.cat([batch.targets for batch in batches]),
        )

    features, taught = read(AuxiliaryData(teacher=teacher))
    plain_features, labels = read(AuxiliaryData())
    torch.testing.assert_close(features, plain_features)
    torch.testing.assert_close(taught.sum(1), torch.ones(len(taught)))
    assert (taught != labels).any(1).all()


def test_a_run_resumes_with_its_teacher_only(
    tones: Dataset, teacher: Teacher, tmp_path: Path
) -> None:
    train_run(tones, tmp_path / "run", QUICK, auxiliary=AuxiliaryData(teacher=teacher))
    again = replace(QUICK, epochs=1)
    train_run(tones, tmp_path / "run", again, auxiliary=AuxiliaryData(teacher=teacher), resume=True)
    with pytest.raises(TrainingError, match="the dataset's content"):
        train_run(tones, tmp_path / "run", again, resume=True)


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
