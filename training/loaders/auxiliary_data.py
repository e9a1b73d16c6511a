"""What else training learns from: extra clips, negatives without a label, and a teacher."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.teacher import Teacher


@dataclass(frozen=True)
class AuxiliaryData:
    """``extra`` has clips of the dataset's labels, ``negatives`` out-of-vocabulary clips.

    The target of a negative is uniform over all labels; with binary cross-entropy it is 0 for each.
    ``teacher`` is a model whose answers are learned.
    """

    extra: Dataset | None = None
    negatives: Dataset | None = None
    teacher: Teacher | None = None

    def content_hash(self, dataset: Dataset) -> str:
        """A hash of the dataset and its auxiliary data."""
        parts = [dataset.content_hash]
        if self.extra is not None:
            parts.append(self.extra.content_hash)
        if self.negatives is not None:
            parts.append(f"negatives:{self.negatives.content_hash}")
        if self.teacher is not None:
            parts.append(f"teacher:{self.teacher.sha256}")
        return "+".join(parts)

    def check_teacher(self, dataset: Dataset, config: TrainConfig) -> None:
        """Check that the network can learn from the teacher, if there is one.

        Raises:
            TrainingError: it cannot.
        """
        if self.teacher is not None:
            self.teacher.check(dataset, config)

    def check(self, dataset: Dataset) -> None:
        """Check that the auxiliary data fits the dataset and has none of its held-out clips.

        Raises:
            TrainingError: it does not fit, or leaks validation or test data.
        """
        if self.extra is not None:
            _check_compatible(dataset, self.extra)
            if self.extra.is_multi_label and not dataset.is_multi_label:
                raise TrainingError(
                    f"{self.extra.folder} has clips with several labels and {dataset.folder} has "
                    "none; give --extra data with one label per clip"
                )
            unknown = sorted(set(self.extra.labels) - set(dataset.labels))
            if unknown:
                raise TrainingError(
                    f"{self.extra.folder} has the labels {', '.join(unknown)}, which "
                    f"{dataset.folder} does not have; give out-of-vocabulary clips as --negatives"
                )
        if self.negatives is not None:
            _check_compatible(dataset, self.negatives)
            shared = sorted(set(self.negatives.labels) & set(dataset.labels))
            if shared:
                raise TrainingError(
                    f"{self.negatives.folder} has the labels {', '.join(shared)} of "
                    f"{dataset.folder}; negatives must have none of its labels"
                )


NO_AUXILIARY_DATA = AuxiliaryData()
# Split modes whose test speakers are not in the training part.
_SPEAKER_DISJOINT_MODES = ("speaker", "crossval")


def open_auxiliary_data(
    extra: Path | None, negatives: Path | None, teacher: str | None = None
) -> AuxiliaryData:
    """Open the dataset folders, and the file or registry name of the teacher.

    Raises:
        DatasetError: a folder holds no dataset.
        ModelError: the teacher is missing or damaged.
    """
    return AuxiliaryData(
        open_dataset(extra) if extra else None,
        open_dataset(negatives) if negatives else None,
        Teacher.open(teacher) if teacher else None,
    )


def _check_compatible(dataset: Dataset, added: Dataset) -> None:
    held_out_hashes = dataset.clips.loc[dataset.clips["split"] != "train", "sha256"]
    leaked = int(added.clips["sha256"].isin(set(held_out_hashes)).sum())
    if leaked:
        raise TrainingError(
            f"{leaked} clips of {added.folder} are in the test or validation part of "
            f"{dataset.folder} and must not be trained on; leave them out"
        )
    if dataset.split_mode in _SPEAKER_DISJOINT_MODES:
        training_speakers = set(added.clips["speaker"]) - {""}
        shared_speakers = sorted(
            training_speakers & set(dataset.clips.loc[dataset.clips["split"] == "test", "speaker"])
        )
        if shared_speakers:
            raise TrainingError(
                f"{added.folder} has clips of the test speakers {', '.join(shared_speakers)} of "
                f"{dataset.folder}, which is tested on unseen speakers; leave these clips out"
            )
    if added.features != dataset.features:
        raise TrainingError(
            f"{added.folder} has other features than {dataset.folder}; prepare both with the "
            "same flags (--sample-rate, --clip-seconds, ...)"
        )
