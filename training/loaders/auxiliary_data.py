"""What is trained on beside a dataset: more clips of its labels, and clips of none of them."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.training.config.train_config import TrainingError


@dataclass(frozen=True)
class Company:
    """``extra`` has clips of the dataset's labels, ``others`` clips of none of them.

    Others are words to be answered with no label: their target is even over all labels, or, where
    each label is learnt by itself, none of them.
    """

    extra: Dataset | None = None
    others: Dataset | None = None

    def content_hash(self, dataset: Dataset) -> str:
        """A hash of all that is trained on."""
        parts = [dataset.content_hash]
        if self.extra is not None:
            parts.append(self.extra.content_hash)
        if self.others is not None:
            parts.append(f"others:{self.others.content_hash}")
        return "+".join(parts)

    def check(self, dataset: Dataset) -> None:
        """See that the company fits the dataset and holds nothing that it is tested on.

        Raises:
            TrainingError: it does not.
        """
        if self.extra is not None:
            _check(dataset, self.extra)
            if self.extra.multi_label and not dataset.multi_label:
                raise TrainingError(
                    f"{self.extra.folder} has clips with several labels, and {dataset.folder} none"
                )
            unknown = sorted(set(self.extra.labels) - set(dataset.labels))
            if unknown:
                raise TrainingError(
                    f"{self.extra.folder} has the labels {', '.join(unknown)}, "
                    f"which {dataset.folder} lacks"
                )
        if self.others is not None:
            _check(dataset, self.others)
            shared = sorted(set(self.others.labels) & set(dataset.labels))
            if shared:
                raise TrainingError(
                    f"{self.others.folder} has the labels {', '.join(shared)} of {dataset.folder}; "
                    "other words must be none of them"
                )


ALONE = Company()
# How datasets are split that are tested on speakers who are nowhere else.
_SPEAKERS_APART = ("speaker", "crossval")


def open_company(extra: Path | None, others: Path | None) -> Company:
    """The company in these dataset folders.

    Raises:
        DatasetError: a folder holds no dataset.
    """
    return Company(open_dataset(extra) if extra else None, open_dataset(others) if others else None)


def _check(dataset: Dataset, company: Dataset) -> None:
    held_back = dataset.clips.loc[dataset.clips["split"] != "train", "sha256"]
    leaked = int(company.clips["sha256"].isin(set(held_back)).sum())
    if leaked:
        raise TrainingError(
            f"{leaked} clips of {company.folder} are in the test or validation part of "
            f"{dataset.folder}; they must not be trained on"
        )
    if dataset.split_mode in _SPEAKERS_APART:
        heard = set(company.clips["speaker"]) - {""}
        both = sorted(heard & set(dataset.clips.loc[dataset.clips["split"] == "test", "speaker"]))
        if both:
            raise TrainingError(
                f"{company.folder} has clips of {', '.join(both)}, who must not be heard in "
                f"training: {dataset.folder} is tested on voices that are new"
            )
    if company.features != dataset.features:
        raise TrainingError(
            f"{company.folder} has other features than {dataset.folder}; prepare both with the "
            "same flags (--sample-rate among them)"
        )
