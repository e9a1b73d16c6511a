"""Finds and checks negatives: other sound, which holds none of the labels of a model.

A path is a sound file, a folder (all sound files in it, recursively), a labels CSV (its clips) or a
dataset folder. Labels are not needed; where there are any, none may be a label of the model.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from earful.data.dataset.dataset import ALL_CLIPS_FILENAME, MANIFEST_FILENAME, open_dataset
from earful.data.errors import did_you_mean_path
from earful.data.labels.clip import Clip
from earful.data.labels.multilabel import split_labels
from earful.models.bundle.metadata import ModelMetadata
from earful.service.batch.inputs import CSV_SUFFIXES, Input, find_inputs
from earful.training.evaluation.false_accepts import FalseAcceptError

_MAX_NAMED = 5
# (start, end) in seconds of a clip in its file.
Segment = tuple[float, float]


@dataclass(frozen=True)
class LabelledFiles:
    """The segments of labelled clips, by the SHA-256 of their file."""

    segments: dict[str, list[Segment]] = field(default_factory=dict)

    def add(self, sha256: str, clip: Clip) -> None:
        self.segments.setdefault(sha256, []).append(_segment(clip))


def find_negatives(paths: Sequence[Path], metadata: ModelMetadata) -> tuple[list[Input], list[str]]:
    """The clips and recordings of the paths, and notes on how to read their rate.

    Raises:
        FalseAcceptError: a path does not exist or holds no sound file, or clips have labels of the
            model, or the model predicts several labels.
        LabelsError: a CSV cannot be read.
        DatasetError: a dataset folder cannot be read.
    """
    if paths and metadata.score_kind == "sigmoid":
        raise FalseAcceptError(
            "negatives are for models that predict one label per clip; this one predicts several, "
            "and its labels have no common threshold"
        )
    found, notes = [], []
    for path in paths:
        listed = path
        if (path / MANIFEST_FILENAME).is_file():
            listed = path / ALL_CLIPS_FILENAME
            if open_dataset(path).content_hash in metadata.training_data_hash:
                notes.append(f"note: the model was trained on {path}, so its rates are too low")
        found += _find_sources(path, listed, metadata.labels)
    return found, notes


def _find_sources(path: Path, listed: Path, labels: Sequence[str]) -> list[Input]:
    if not listed.exists():
        raise FalseAcceptError(
            f"there is no {listed}{did_you_mean_path(listed)}; negatives are a sound file, a "
            "folder, a labels CSV or a dataset"
        )
    sources = list(find_inputs([str(listed)]))
    if not sources:
        is_csv = listed.suffix.lower() in CSV_SUFFIXES
        content = "no row" if is_csv else "no sound file"
        raise FalseAcceptError(f"{path} has {content}; negatives are recordings of other sound")
    known = Counter(
        label for source in sources for label in split_labels(source.expected) if label in labels
    )
    if known:
        named = ", ".join(f"{n} x {label!r}" for label, n in known.most_common(_MAX_NAMED))
        others = ", ..." if len(known) > _MAX_NAMED else ""
        raise FalseAcceptError(
            f"{path} has {known.total()} clips of the model's labels ({named}{others}); negatives "
            "have none of them: leave these rows out"
        )
    return [_checked(source) for source in sources]


def _checked(source: Input) -> Input:
    """The source, with a problem if it is no regular file: opening a pipe would wait."""
    if source.problem or Path(source.location).is_file():
        return source
    return replace(source, problem="not_found: no such file; check the name and the folder")


def without_copies(
    sources: Iterable[Input], labelled: LabelledFiles
) -> tuple[list[Input], list[str]]:
    """Each recording once, and notes on copies.

    Raises:
        FalseAcceptError: some are labelled clips under evaluation.
    """
    hashes: dict[str, str] = {}
    kept: dict[tuple[str, Segment], Input] = {}
    leaked: list[Input] = []
    n_copies = 0
    for source in sources:
        sha256 = _hash_file(source, hashes)
        leaked += [source] if _overlaps(_segment(source), labelled.segments.get(sha256, ())) else []
        key = sha256 or source.location, _segment(source)
        n_copies += key in kept
        kept.setdefault(key, source)
    if leaked:
        raise FalseAcceptError(
            f"{len(leaked)} negatives are labelled clips of this evaluation as well (the first: "
            f"{leaked[0].location}); leave them out of one of the two"
        )
    notes = [f"note: copies of other negatives, which count once: {n_copies}"] if n_copies else []
    return list(kept.values()), notes


def _hash_file(source: Input, hashes: dict[str, str]) -> str:
    """The SHA-256 of the file of a source; empty if it cannot be read, which is reported later."""
    if source.problem:
        return ""
    if source.location not in hashes:
        try:
            with Path(source.location).open("rb") as file:
                hashes[source.location] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            hashes[source.location] = ""
    return hashes[source.location]


def _segment(clip: Clip | Input) -> Segment:
    if clip.start_seconds is None or clip.end_seconds is None:
        return 0.0, float("inf")
    return clip.start_seconds, clip.end_seconds


def _overlaps(segment: Segment, others: Iterable[Segment]) -> bool:
    return any(segment[0] < end and start < segment[1] for start, end in others)
