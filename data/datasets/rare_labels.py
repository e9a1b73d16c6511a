"""Labels of a dataset that cannot be both trained and tested."""

from dataclasses import replace

from earful.data.labels.clip import LabelledClips, clips_by_label
from earful.data.labels.multilabel import split_labels

_MAX_NAMES = 5


def without_rare_labels(labelled: LabelledClips) -> LabelledClips:
    """The clips without labels of a single clip or, with a training part, of none in it.

    They are counted in a note.
    """
    counts = clips_by_label(labelled.clips)
    has_train = any(clip.split == "train" for clip in labelled.clips)
    trained = clips_by_label(c for c in labelled.clips if not has_train or c.split == "train")
    rare = sorted(label for label, count in counts.items() if count < 2 or label not in trained)
    if not rare:
        return labelled
    left_out = set(rare)
    kept = tuple(c for c in labelled.clips if left_out.isdisjoint(split_labels(c.label)))
    names = ", ".join(rare[:_MAX_NAMES]) + (", ..." if len(rare) > _MAX_NAMES else "")
    note = (
        f"{len(rare)} labels have one clip or none to train on, and their "
        f"{len(labelled.clips) - len(kept)} clips are left out: {names}"
    )
    return replace(labelled, clips=kept, notes=(*labelled.notes, note))
