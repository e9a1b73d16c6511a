"""A released model as teacher: a smaller network learns its answers (distillation).

The teacher answers the same augmented waveform that the network is trained on, so that it teaches
what noise leaves of a word (Hinton et al., arXiv:1503.02531; Beyer et al., arXiv:2106.05237).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
import torch
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.bundle import Bundle, open_bundle
from earful.models.bundle.device import Device
from earful.models.bundle.runtime import ORT_ERRORS, error_line
from earful.models.bundle.session_calls import run_session
from earful.models.networks.zoo import zoo_entry
from earful.models.registry.find_model import find_model
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.metrics.calibration import score_kind_for_loss

# Share of the teacher's answer in a target; the rest is the label, which mends its errors.
TEACHER_SHARE = 0.9


@dataclass(frozen=True)
class Teacher:
    """An opened model whose probabilities are targets."""

    bundle: Bundle

    @classmethod
    def open(cls, model: str) -> "Teacher":
        """Open a model file, or the newest version of a model in the registry; on a GPU if any.

        Raises:
            ModelError: there is none, it is damaged, or it does not reproduce its golden example.
        """
        device: Device = "auto" if torch.cuda.is_available() else "cpu"
        return cls(open_bundle(find_model(model), device))

    @cached_property
    def sha256(self) -> str:
        """Of the graph alone: a threshold that is written into the file changes no answer."""
        model = onnx.load(self.bundle.path)
        del model.metadata_props[:]
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()

    def check(self, dataset: Dataset, config: TrainConfig) -> None:
        """Check that the network can learn from this teacher on this dataset.

        Raises:
            TrainingError: the teacher has other labels, scores or clips, or the network is not
                trained with augmentation.
        """
        path, metadata = self.bundle.path, self.bundle.metadata
        entry = zoo_entry(config.model)
        if entry.task != "classification":
            raise TrainingError(f"{config.model} learns no labels, so it cannot have a teacher")
        if entry.fitted or not config.augment:
            raise TrainingError(
                f"a teacher answers augmented clips, and {config.model} is trained without them; "
                "give another --model, such as tcresnet"
                + ("" if entry.fitted else ", or --augment")
            )
        if set(metadata.labels) != set(dataset.labels):
            missing = sorted(set(dataset.labels) - set(metadata.labels))
            more = sorted(set(metadata.labels) - set(dataset.labels))
            raise TrainingError(
                f"the teacher {path} has other labels than {dataset.folder}: "
                f"{_named('it lacks', missing)}{'; ' if missing and more else ''}"
                f"{_named('it has', more)}; give a model of the same labels as --teacher"
            )
        if metadata.score_kind != score_kind_for_loss(config.loss):
            raise TrainingError(
                f"the teacher {path} has {metadata.score_kind} scores, which --loss {config.loss} "
                "does not learn; give a teacher of the same kind"
            )
        heard, own = metadata.features, dataset.features
        if (heard.sample_rate_hz, heard.clip_samples) != (own.sample_rate_hz, own.clip_samples):
            raise TrainingError(
                f"the teacher {path} hears {heard.clip_seconds:g} s at {heard.sample_rate_hz} Hz "
                f"and {dataset.folder} has {own.clip_seconds:g} s at {own.sample_rate_hz} Hz; "
                f"prepare it with --sample-rate {heard.sample_rate_hz} "
                f"--clip-seconds {heard.clip_seconds:g}"
            )

    def teach(self, waveforms: Tensor, targets: Tensor, labels: Sequence[str]) -> Tensor:
        """Targets (clips, labels) mixed with the teacher's answers to waveforms (clips, samples).

        Raises:
            TrainingError: the teacher's graph fails.
        """
        clips = np.ascontiguousarray(waveforms.cpu().numpy(), np.float32)
        try:
            (probabilities,) = run_session(
                self.bundle.session, ["probabilities"], {"waveform": clips}, self.bundle.path
            )
        except ORT_ERRORS as error:
            reason = error_line(error)
            raise TrainingError(f"the teacher {self.bundle.path} failed: {reason}") from error
        own_labels = self.bundle.metadata.labels
        order = [own_labels.index(label) for label in labels]
        answers = torch.from_numpy(probabilities[:, order]).to(targets)
        return torch.lerp(targets, answers, TEACHER_SHARE)


def _named(verb: str, labels: list[str]) -> str:
    if not labels:
        return ""
    return f"{verb} {', '.join(map(repr, labels[:5]))}{', ...' if labels[5:] else ''}"
