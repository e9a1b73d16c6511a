"""A map of a dataset: every clip a point, near to those that it sounds like.

The neighbours and outliers of each embedding, and two coordinates for each clip.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import Dataset, DatasetError
from earful.models.bundle.device import Device
from earful.training.explore.embedding_sources import Sources, find_embeddings
from earful.training.explore.embeddings import Embedding
from earful.training.explore.neighbours import Outliers, find_neighbours, find_outliers, purity
from earful.training.runs.progress import TrainingProgress

Reduction = Literal["tsne", "pca"]
LEAST_CLIPS = 3
# Half of scikit-learn's default: on spoken digits the labels are as pure, in half the time.
TSNE_STEPS = 500
TSNE_PERPLEXITY = 30.0
# Of a sample, so many of the foremost outliers of each kind are on the map in any case.
FOREMOST = 200

Coordinates = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """One embedding on the map. ``coordinates`` (shown, 2) are those of the clips that are shown.

    Purities are shares of neighbours with the clip's label: among all clips in the embedding, and
    among those shown on the map.
    """

    embedding: Embedding
    outliers: Outliers
    coordinates: Coordinates
    purity: float
    purity_on_map: float


@dataclass(frozen=True)
class ClipMap:
    """The map of a dataset; ``shown`` are the positions of the clips that are on it."""

    dataset: Dataset
    shown: NDArray[np.int64]
    reduction: Reduction
    neighbours: int
    views: tuple[View, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints: the figures, and a row a clip."""
        return {
            "clips": len(self.dataset.clips),
            "shown": len(self.shown),
            "reduction": self.reduction,
            "embeddings": {
                view.embedding.kind: {
                    "source": view.embedding.source,
                    "dimensions": view.embedding.vectors.shape[1],
                    "purity": view.purity,
                    "purity_on_map": view.purity_on_map,
                }
                for view in self.views
            },
            "notes": list(self.notes),
            "points": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row a clip of the dataset; coordinates are None of clips that are not shown."""
        clips = self.dataset.clips
        rows: list[dict[str, Any]] = [
            {"id": int(n), "filename": name, "label": label, "speaker": speaker, "split": split}
            for n, name, label, speaker, split in zip(
                clips["id"], clips["filename"], clips["label"], clips["speaker"], clips["split"],
                strict=True,
            )
        ]  # fmt: skip
        for view in self.views:
            _add_view(rows, view, self.shown, self.dataset.labels)
        return rows


def draw_map(
    dataset: Dataset,
    sources: Sources,
    *,
    reduction: Reduction = "tsne",
    most: int = 10_000,
    seed: int = 42,
    device: Device = "auto",
    progress: TrainingProgress | None = None,
) -> ClipMap:
    """Embed all clips, score them by their neighbours, and lay out ``most`` of them at most.

    Raises:
        DatasetError: fewer than three clips, clips with several labels, or a damaged dataset.
        TrainingError: a run that is damaged or does not fit, or nothing to embed with.
        ModelError: a model that is damaged or does not fit.
    """
    _check(dataset)
    embeddings, notes = find_embeddings(
        dataset, sources, seed, device, progress or TrainingProgress()
    )
    n_labels = len(dataset.labels)
    neighbours = [find_neighbours(embedding.comparable) for embedding in embeddings]
    outliers = [find_outliers(found, dataset.targets, n_labels) for found in neighbours]
    shown = choose_shown(len(dataset.clips), outliers, most, seed)
    if len(shown) < len(dataset.clips):
        notes.append(
            f"{len(shown):,} of {len(dataset.clips):,} clips are shown, drawn at random and the "
            f"foremost outliers among them (--most shows more); all have their scores"
        )
    views = []
    for embedding, near, out in zip(embeddings, neighbours, outliers, strict=True):
        coordinates = lay_out(embedding, shown, reduction, seed)
        views.append(
            View(
                embedding, out, coordinates, purity(near, dataset.targets),
                purity(find_neighbours(coordinates), dataset.targets[shown]),
            )
        )  # fmt: skip
    return ClipMap(dataset, shown, reduction, neighbours[0].k, tuple(views), tuple(notes))


def choose_shown(
    n_clips: int, outliers: Sequence[Outliers], most: int, seed: int
) -> NDArray[np.int64]:
    """Positions of the clips to show, ascending: all, or the foremost outliers and a sample."""
    if n_clips <= most:
        return np.arange(n_clips)
    foremost = [i for found in outliers for i in found.foremost(FOREMOST)]
    drawn = np.random.default_rng(seed).permutation(n_clips).tolist()
    chosen = list(dict.fromkeys([*foremost, *drawn]))[:most]
    return np.sort(np.array(chosen, np.int64))


def lay_out(
    embedding: Embedding, shown: NDArray[np.int64], reduction: Reduction, seed: int
) -> Coordinates:
    """Coordinates (shown, 2) of some clips of an embedding, the same for the same seed.

    Principal components are those of the embedding as it is: scaled alike, none is foremost.
    """
    vectors = (embedding.vectors if reduction == "pca" else embedding.comparable)[shown]
    if not vectors.std(axis=0).any():  # every clip is the same
        return np.zeros((len(vectors), 2), np.float32)
    flat = np.pad(vectors, ((0, 0), (0, max(0, 2 - vectors.shape[1]))))
    if reduction == "pca":
        found = PCA(2, svd_solver="full").fit_transform(flat)
    else:
        found = TSNE(
            perplexity=min(TSNE_PERPLEXITY, (len(flat) - 1) / 3), init="pca", max_iter=TSNE_STEPS,
            random_state=seed,
        ).fit_transform(flat)  # fmt: skip
    coordinates: Coordinates = np.asarray(found, np.float32)
    return coordinates


def write_points(found: ClipMap, path: Path) -> None:
    """The rows of ``ClipMap.rows`` as CSV, coordinates and scores with six digits.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    rows = found.rows()
    with staged_file(path) as staging, staging.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _check(dataset: Dataset) -> None:
    if len(dataset.clips) < LEAST_CLIPS:
        raise DatasetError(
            f"{dataset.folder} has {len(dataset.clips)} clips; a map needs {LEAST_CLIPS} or more"
        )
    dataset.require_single_label("a map, which asks whether neighbours have the same label,")
    seconds = dataset.clips["seconds"]
    if seconds.dtype.kind not in "fi" or not np.isfinite(seconds).all():
        raise DatasetError(
            f"the dataset {dataset.folder} is damaged: clips.csv has seconds that are no numbers; "
            "prepare it again"
        )


def _add_view(
    rows: list[dict[str, Any]], view: View, shown: NDArray[np.int64], labels: tuple[str, ...]
) -> None:
    kind, out = view.embedding.kind, view.outliers
    for i, row in enumerate(rows):
        row[f"{kind}_x"] = row[f"{kind}_y"] = None
        row[f"{kind}_disagreement"] = float(out.disagreement[i])
        row[f"{kind}_neighbours_say"] = labels[int(out.suggested[i])]
        row[f"{kind}_distance"] = float(out.distance[i])
    for i, (x, y) in zip(shown.tolist(), view.coordinates.tolist(), strict=True):
        rows[i] |= {f"{kind}_x": x, f"{kind}_y": y}
    if view.embedding.answers is not None:
        found = view.embedding.answers
        for row, answer, score in zip(rows, found.labels, found.scores.tolist(), strict=True):
            row |= {"answer": answer, "score": score}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
