"""What is trained on beside a dataset: more clips of its labels, and clips of none of them."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.training.config.train_config import TrainingError


@dataclass(frozen=True)
class AuxiliaryData:
    """``extra`` has clips of the dataset's labels, ``others`` clips of none of them.

    Others are words to be answered with no label: their target is even over all labels, or, where
    each label is learnt by itself, none of them.
    """

    extra: Dataset | None = None
    negatives: Dataset | None = None

    def content_hash(self, dataset: Dataset) -> str:
        """A hash of all that is trained on."""
        parts = [dataset.content_hash]
        if self.extra is not None:
            parts.append(self.extra.content_hash)
        if self.negatives is not None:
            parts.append(f"negatives:{self.negatives.content_hash}")
        return "+".join(parts)

    def check(self, dataset: Dataset) -> None:
        """See that the company fits the dataset and holds nothing that it is tested on.

        Raises:
            TrainingError: it does not.
        """
        if self.extra is not None:
            _check_compatible(dataset, self.extra)
            if self.extra.is_multi_label and not dataset.is_multi_label:
                raise TrainingError(
                    f"{self.extra.folder} has clips with several labels, and {dataset.folder} none"
                )
            unknown = sorted(set(self.extra.labels) - set(dataset.labels))
            if unknown:
                raise TrainingError(
                    f"{self.extra.folder} has the labels {', '.join(unknown)}, "
                    f"which {dataset.folder} lacks"
                )
        if self.negatives is not None:
            _check_compatible(dataset, self.negatives)
            shared = sorted(set(self.negatives.labels) & set(dataset.labels))
            if shared:
                raise TrainingError(
                    f"{self.negatives.folder} has the labels {', '.join(shared)} of {dataset.folder}; "
                    "other words must be none of them"
                )


NO_AUXILIARY_DATA = AuxiliaryData()
# How datasets are split that are tested on speakers who are nowhere else.
_SPEAKER_DISJOINT_MODES = ("speaker", "crossval")


def open_auxiliary_data(extra: Path | None, negatives: Path | None) -> AuxiliaryData:
    """The company in these dataset folders.

    Raises:
        DatasetError: a folder holds no dataset.
    """
    return AuxiliaryData(open_dataset(extra) if extra else None, open_dataset(negatives) if negatives else None)


def _check_compatible(dataset: Dataset, added: Dataset) -> None:
    held_out_hashes = dataset.clips.loc[dataset.clips["split"] != "train", "sha256"]
    leaked = int(added.clips["sha256"].isin(set(held_out_hashes)).sum())
    if leaked:
        raise TrainingError(
            f"{leaked} clips of {added.folder} are in the test or validation part of "
            f"{dataset.folder}; they must not be trained on"
        )
    if dataset.split_mode in _SPEAKER_DISJOINT_MODES:
        training_speakers = set(added.clips["speaker"]) - {""}
        shared_speakers = sorted(training_speakers & set(dataset.clips.loc[dataset.clips["split"] == "test", "speaker"]))
        if shared_speakers:
            raise TrainingError(
                f"{added.folder} has clips of {', '.join(shared_speakers)}, who must not be heard in "
                f"training: {dataset.folder} is tested on voices that are new"
            )
    if added.features != dataset.features:
        raise TrainingError(
            f"{added.folder} has other features than {dataset.folder}; prepare both with the "
            "same flags (--sample-rate among them)"
        )
