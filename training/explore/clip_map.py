"""Map of a dataset: a 2-D projection of the clips in which similar clips are close together.

Each embedding has its neighbours, its outliers and its projection.
"""

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
from earful.data.text.formula_cells import write_csv
from earful.models.bundle.device import TrainingDevice
from earful.training.explore.embedding_sources import EmbeddingSources, find_embeddings
from earful.training.explore.embeddings import Embedding
from earful.training.explore.neighbours import Outliers, find_neighbours, find_outliers, purity
from earful.training.explore.unlabelled import OnProgress

Reduction = Literal["tsne", "pca"]
MIN_CLIPS = 3
# Half of scikit-learn's default: same neighbour purity on spoken digits, in half the time.
TSNE_ITERATIONS = 500
TSNE_PERPLEXITY = 30.0
# A sample always contains this many of the top outliers of each kind.
TOP_OUTLIERS = 200

Coordinates = NDArray[np.float32]


@dataclass(frozen=True)
class MapView:
    """One embedding on the map; ``coordinates`` (shown, 2) are those of the shown clips.

    Purity is the mean share of neighbours with the clip's label: in the embedding of all clips, and
    on the map.
    """

    embedding: Embedding
    outliers: Outliers
    coordinates: Coordinates
    purity: float
    purity_on_map: float


@dataclass(frozen=True)
class ClipMap:
    """The map of a dataset; ``shown`` are the row indices of the clips on it."""

    dataset: Dataset
    shown: NDArray[np.int64]
    reduction: Reduction
    neighbours: int
    views: tuple[MapView, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The object of ``earful map --json``."""
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
        """One row per clip of the dataset; coordinates are None for clips that are not shown."""
        clips = self.dataset.clips
        columns = ("filename", "label", "speaker", "split")
        rows: list[dict[str, Any]] = [
            {"id": int(clip["id"]), **{name: clip[name] for name in columns}}
            for clip in clips[["id", *columns]].to_dict("records")
        ]
        for view in self.views:
            _add_view_columns(rows, view, self.shown, self.dataset.labels)
        return rows


def build_map(
    dataset: Dataset,
    sources: EmbeddingSources,
    *,
    reduction: Reduction = "tsne",
    max_clips: int = 10_000,
    seed: int = 42,
    device: TrainingDevice = "auto",
    on_progress: OnProgress = lambda done, total: None,
) -> ClipMap:
    """Embed all clips, score them by their neighbours, and project up to ``max_clips`` of them.

    Raises:
        DatasetError: fewer than three clips, clips with several labels, or a damaged dataset.
        TrainingError: the run is damaged or does not fit the dataset, or there is no embedding.
        ModelError: the model is damaged or does not fit the dataset.
        FeatureError: only the encoder is asked for, and the sample rate is too low for it.
    """
    _require_mappable(dataset)
    embeddings, notes = find_embeddings(dataset, sources, seed, device, on_progress)
    n_labels = len(dataset.labels)
    neighbours = [find_neighbours(embedding.comparable) for embedding in embeddings]
    outliers = [
        find_outliers(neighbourhood, dataset.targets, n_labels) for neighbourhood in neighbours
    ]
    shown = sample_clips(len(dataset.clips), outliers, max_clips, seed)
    if len(shown) < len(dataset.clips):
        notes.append(
            f"{len(shown):,} of {len(dataset.clips):,} clips are shown: the top outliers and a "
            "random sample (--max-clips shows more); outlier scores are computed on all clips"
        )
    views = []
    for embedding, neighbourhood, clip_outliers in zip(
        embeddings, neighbours, outliers, strict=True
    ):
        coordinates = project_embedding(embedding, shown, reduction, seed)
        view = MapView(
            embedding=embedding,
            outliers=clip_outliers,
            coordinates=coordinates,
            purity=purity(neighbourhood, dataset.targets),
            purity_on_map=purity(find_neighbours(coordinates), dataset.targets[shown]),
        )
        views.append(view)
    return ClipMap(
        dataset=dataset,
        shown=shown,
        reduction=reduction,
        neighbours=neighbours[0].k,
        views=tuple(views),
        notes=tuple(notes),
    )


def sample_clips(
    n_clips: int, outliers: Sequence[Outliers], max_clips: int, seed: int
) -> NDArray[np.int64]:
    """Row indices of the clips to show, ascending: all, or the top outliers and a sample."""
    if n_clips <= max_clips:
        return np.arange(n_clips)
    top_outliers = [i for clip_outliers in outliers for i in clip_outliers.top(TOP_OUTLIERS)]
    drawn = np.random.default_rng(seed).permutation(n_clips).tolist()
    chosen = list(dict.fromkeys([*top_outliers, *drawn]))[:max_clips]
    return np.sort(np.array(chosen, np.int64))


def project_embedding(
    embedding: Embedding, shown: NDArray[np.int64], reduction: Reduction, seed: int
) -> Coordinates:
    """Project some clips of an embedding to (shown, 2); deterministic for a seed.

    PCA uses the unwhitened vectors: after whitening all components have equal variance.
    """
    vectors = (embedding.vectors if reduction == "pca" else embedding.comparable)[shown]
    if not vectors.std(axis=0).any():  # all vectors are equal
        return np.zeros((len(vectors), 2), np.float32)
    padded = np.pad(vectors, ((0, 0), (0, max(0, 2 - vectors.shape[1]))))
    if reduction == "pca":
        projected = PCA(2, svd_solver="full").fit_transform(padded)
    else:
        tsne = TSNE(
            perplexity=min(TSNE_PERPLEXITY, (len(padded) - 1) / 3),
            init="pca",
            max_iter=TSNE_ITERATIONS,
            random_state=seed,
        )
        projected = tsne.fit_transform(padded)
    coordinates: Coordinates = np.asarray(projected, np.float32)
    return coordinates


def write_points_csv(clip_map: ClipMap, path: Path, *, mark: bool = True) -> None:
    """Write ``ClipMap.rows`` as CSV, numbers with six significant digits.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    rows = clip_map.rows()
    cells = ([_format_cell(row[name]) for name in rows[0]] for row in rows)
    with staged_file(path) as staging:
        write_csv(staging, list(rows[0]), cells, mark=mark)


def _require_mappable(dataset: Dataset) -> None:
    if len(dataset.clips) < MIN_CLIPS:
        raise DatasetError(
            f"{dataset.folder} has {len(dataset.clips)} clips; a map needs {MIN_CLIPS} or more"
        )
    dataset.require_single_label("a map, which compares the labels of neighbours,")
    seconds = dataset.clips["seconds"]
    if seconds.dtype.kind not in "fi" or not np.isfinite(seconds).all():
        raise DatasetError(
            f"the dataset {dataset.folder} is damaged: clips.csv has invalid values in "
            "the column seconds; prepare it again"
        )


def _add_view_columns(
    rows: list[dict[str, Any]], view: MapView, shown: NDArray[np.int64], labels: tuple[str, ...]
) -> None:
    kind, outliers = view.embedding.kind, view.outliers
    for i, row in enumerate(rows):
        row[f"{kind}_x"] = row[f"{kind}_y"] = None
        row[f"{kind}_disagreement"] = float(outliers.disagreement[i])
        row[f"{kind}_suggested"] = labels[int(outliers.suggested[i])]
        row[f"{kind}_distance"] = float(outliers.distance[i])
    for i, (x, y) in zip(shown.tolist(), view.coordinates.tolist(), strict=True):
        rows[i] |= {f"{kind}_x": x, f"{kind}_y": y}
    if view.embedding.predictions is not None:
        predictions = view.embedding.predictions
        for row, label, score in zip(
            rows, predictions.labels, predictions.scores.tolist(), strict=True
        ):
            row |= {"predicted": label, "score": score}


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
