"""Accuracy by recording, where the clips under evaluation are parts of recordings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earful.data.labels.clip import Clip
from earful.data.labels.multilabel import has_multiple_labels
from earful.service.classifier import Classifier, Prediction


def recording_notes(
    predictions: Sequence[tuple[Clip, Prediction]], classifier: Classifier
) -> list[str]:
    """A note that accuracy counts clips, with that of recordings by their mean score; or none.

    Only for recordings of one label each, as those that `earful prepare` cuts into windows.
    """
    of_recording: dict[Path, list[tuple[Clip, Prediction]]] = {}
    for clip, prediction in predictions:
        of_recording.setdefault(clip.path, []).append((clip, prediction))
    several = [pairs for pairs in of_recording.values() if len(pairs) > 1]
    labels = [{clip.label for clip, _ in pairs} for pairs in several]
    if not several or any(len(found) > 1 or has_multiple_labels(*found) for found in labels):
        return []
    if classifier.is_multi_label:
        return [f"note: the clips are parts of {len(of_recording)} recordings and count alone"]
    correct = sum(_is_correct(pairs, classifier.labels) for pairs in of_recording.values())
    n_recordings = len(of_recording)
    return [
        f"note: the {len(predictions)} clips are parts of {n_recordings} recordings and count "
        f"alone; by the mean score of its parts, {correct} of {n_recordings} recordings are "
        f"correct ({100 * correct / n_recordings:.1f} %)"
    ]


def _is_correct(pairs: Sequence[tuple[Clip, Prediction]], labels: Sequence[str]) -> bool:
    mean_scores = np.mean([prediction.best.scores for _, prediction in pairs], axis=0)
    return labels[int(np.argmax(mean_scores))] == pairs[0][0].label
