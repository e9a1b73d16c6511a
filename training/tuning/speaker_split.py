"""Validation split of a search: held-out speakers, never the test split."""

import numpy as np

from earful.data.dataset.dataset import Dataset
from earful.data.labels.folds import speaker_folds
from earful.data.labels.splits import SplitError

# One of up to five speaker folds of the non-test clips is the validation split.
_MAX_FOLDS = 5
_EXCLUDED_SPLIT = "held back"


def hold_out_speakers(dataset: Dataset) -> tuple[Dataset, str]:
    """The dataset with held-out validation speakers and no test clips, and a note for the user.

    Where training and validation split share speakers, both are split again by speaker.
    """
    splits = dataset.clips["split"].to_numpy().astype(object)
    pool = np.flatnonzero(splits != "test")
    speakers = dataset.clips["speaker"].to_numpy()
    split_speakers = {split: set(speakers[splits == split]) - {""} for split in ("train", "val")}
    all_speakers = split_speakers["train"] | split_speakers["val"]
    if len(all_speakers) < 2:
        reason = (
            f"all clips outside the test split are of speaker {all_speakers.pop()!r}"
            if all_speakers
            else "the dataset names no speakers"
        )
        return _with_splits(dataset, splits), _own_validation_note(reason)
    if split_speakers["val"] and split_speakers["train"].isdisjoint(split_speakers["val"]):
        return _with_splits(dataset, splits), (
            f"trials are compared on {_format_speakers(split_speakers['val'])} of the dataset's "
            "validation split, who are not in the training split"
        )
    try:
        folds = speaker_folds(
            dataset.clips["label"].to_numpy()[pool].tolist(),
            speakers[pool].tolist(),
            min(_MAX_FOLDS, len(all_speakers)),
            dataset.clips["sha256"].to_numpy()[pool].tolist(),
        )
    except SplitError as error:
        reason = f"no speakers can be held out ({error})"
        return _with_splits(dataset, splits), _own_validation_note(reason)
    target_size = len(pool) / len(folds)
    fold = min(folds, key=lambda fold: abs(fold.splits.count("test") - target_size))
    splits[pool] = ["val" if split == "test" else "train" for split in fold.splits]
    validation_speakers = set(speakers[splits == "val"]) - {""}
    return _with_splits(dataset, splits), (
        f"trials are compared on held-out speakers ({_format_speakers(validation_speakers)}), "
        "because the dataset's validation split shares speakers with the training split"
    )


def _own_validation_note(reason: str) -> str:
    return (
        f"{reason}: trials are compared on the validation split of the dataset, whose speakers may "
        "be in the training split"
    )


def _with_splits(
    dataset: Dataset, splits: "np.ndarray[tuple[int], np.dtype[np.object_]]"
) -> Dataset:
    """The dataset with these splits, reflected in its hash, and without a test split."""
    new_splits = [_EXCLUDED_SPLIT if split == "test" else str(split) for split in splits]
    return dataset.split_again(new_splits, "tune")


def _format_speakers(speakers: set[str]) -> str:
    ordered = sorted(speakers)
    if len(ordered) > 5:
        return f"{len(ordered)} speakers ({', '.join(ordered[:3])}, ...)"
    return ", ".join(ordered)
