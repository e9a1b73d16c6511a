"""Validation for a search: on speakers whom no trial is trained on, and never on the test part."""

import hashlib
from dataclasses import replace

import numpy as np

from earful.data.dataset.dataset import Dataset
from earful.data.labels.folds import speaker_folds
from earful.data.labels.splits import SplitError

# Of the clips that are not held back for the test: a fifth by other voices, where there are five.
_FOLDS = 5
_HELD_BACK = "held back"


def voices_apart(dataset: Dataset) -> tuple[Dataset, str]:
    """The dataset without its test part, validated on other speakers, and a note that says how.

    Where its own validation part shares speakers with training, both are split anew by speaker.
    """
    splits = dataset.clips["split"].to_numpy().astype(object)
    pool = np.flatnonzero(splits != "test")
    speakers = dataset.clips["speaker"].to_numpy()
    heard = {split: set(speakers[splits == split]) - {""} for split in ("train", "val")}
    known = heard["train"] | heard["val"]
    if len(known) < 2:
        found = f"all clips outside the test part are of {known.pop()!r}" if known else "no speaker"
        return _view(dataset, splits), (
            f"{found if found != 'no speaker' else 'the dataset names no speaker'}: trials are "
            "compared on its own validation clips, whose voices they may have been trained on"
        )
    if heard["val"] and heard["train"].isdisjoint(heard["val"]):
        return _view(dataset, splits), (
            f"trials are compared on {_named(heard['val'])} of the dataset's validation part, "
            "who are not trained on"
        )
    try:
        folds = speaker_folds(
            dataset.clips["label"].to_numpy()[pool].tolist(), speakers[pool].tolist(),
            min(_FOLDS, len(known)),
        )  # fmt: skip
    except SplitError as error:
        return _view(dataset, splits), (
            f"no speakers can be kept apart ({error}): trials are compared on the dataset's own "
            "validation clips, whose voices they may have been trained on"
        )
    wanted = len(pool) / len(folds)
    fold = min(folds, key=lambda fold: abs(fold.splits.count("test") - wanted))
    splits[pool] = ["val" if split == "test" else "train" for split in fold.splits]
    tested = set(speakers[splits == "val"]) - {""}
    return _view(dataset, splits), (
        f"trials are compared on {_named(tested)}, who are not trained on: the dataset's own "
        "validation part shares its speakers with the training part"
    )


def _view(dataset: Dataset, splits: "np.ndarray[tuple[int], np.dtype[np.object_]]") -> Dataset:
    """The dataset with these splits, which its hash covers; the test part is out of reach."""
    kept = [_HELD_BACK if split == "test" else str(split) for split in splits]
    digest = hashlib.sha256(",".join(kept).encode()).hexdigest()[:12]
    return replace(
        dataset,
        clips=dataset.clips.assign(split=kept),
        content_hash=f"{dataset.content_hash}/tune:{digest}",
    )


def _named(speakers: set[str]) -> str:
    ordered = sorted(speakers)
    if len(ordered) > 5:
        return f"{len(ordered)} speakers ({', '.join(ordered[:3])}, ...)"
    return ", ".join(ordered)
