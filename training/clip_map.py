"""A map of a dataset: every clip a point, near to those that it sounds like.

Which embeddings there are, their neighbours and outliers, and two coordinates for each clip.
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

from data.dataset import Dataset, DatasetError
from data.errors import EarshotError
from data.staging import staged_file
from models.device import Device
from models.released import SHIPPED_MODEL
from service.classifier import Classifier
from training.checkpoint import BEST, load_checkpoint
from training.config import TrainingError
from training.embeddings import Embedding, Kind, check_model, check_run, kind_of, of_model, of_run
from training.embeddings import on_the_spot as learn_on_the_spot
from training.neighbours import Outliers, find_neighbours, find_outliers, purity
from training.progress import TrainingProgress

Reduction = Literal["tsne", "pca"]
LEAST_CLIPS = 3
# Half of scikit-learn's default: on spoken digits the labels are as pure after 500 steps as after
# 1,000 (99.15 and 99.14 %), in half the time.
TSNE_STEPS = 500
TSNE_PERPLEXITY = 30.0
# Of a sample, so many of the foremost outliers of each kind are on the map in any case.
FOREMOST = 200

Coordinates = NDArray[np.float32]


@dataclass(frozen=True)
class Sources:
    """Where embeddings come from; ``kept`` is the folder of the autoencoder that is trained here.

    ``only`` is the one that is wanted, None for both; ``needs_answers`` is whether there must be a
    classifier.
    """

    kept: Path
    model: Path | None = None
    run: Path | None = None
    only: Kind | None = None
    needs_answers: bool = False


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
        DatasetError: fewer than three clips, or a damaged dataset.
        TrainingError: a run that is damaged or does not fit, or nothing to embed with.
        ModelError: a model that is damaged or does not fit.
    """
    if len(dataset.clips) < LEAST_CLIPS:
        raise DatasetError(
            f"{dataset.folder} has {len(dataset.clips)} clips; a map needs {LEAST_CLIPS} or more"
        )
    embeddings, notes = find_embeddings(
        dataset, sources, seed, device, progress or TrainingProgress()
    )
    n_labels = len(dataset.labels)
    neighbours = [find_neighbours(embedding.vectors) for embedding in embeddings]
    outliers = [find_outliers(found, dataset.targets, n_labels) for found in neighbours]
    shown = choose_shown(len(dataset.clips), outliers, most, seed)
    if len(shown) < len(dataset.clips):
        notes.append(
            f"{len(shown):,} of {len(dataset.clips):,} clips are shown, drawn at random and the "
            f"foremost outliers among them (--most shows more); all have their scores"
        )
    views = []
    for embedding, near, out in zip(embeddings, neighbours, outliers, strict=True):
        coordinates = lay_out(embedding.vectors[shown], reduction, seed)
        views.append(
            View(
                embedding, out, coordinates, purity(near, dataset.targets),
                purity(find_neighbours(coordinates), dataset.targets[shown]),
            )
        )  # fmt: skip
    return ClipMap(dataset, shown, reduction, neighbours[0].k, tuple(views), tuple(notes))


def find_embeddings(
    dataset: Dataset, sources: Sources, seed: int, device: Device, progress: TrainingProgress
) -> tuple[list[Embedding], list[str]]:
    """The embeddings that are wanted, and what to say of those that there are not.

    What the user named is opened and checked before anything is trained.
    """
    given = _given_run(dataset, sources)
    notes: list[str] = []
    found: dict[Kind, Embedding] = {}
    if sources.only != "autoencoder":
        classifier = _classifier(dataset, sources, given, notes)
        if classifier is not None:
            found["classifier"] = classifier
    if sources.needs_answers and not found:
        raise TrainingError(
            "--colour error needs a classifier's answers; "
            + (notes[0] if notes else "leave out --by autoencoder")
        )
    if sources.only != "classifier":
        found["autoencoder"] = (
            of_run(dataset, sources.run)
            if given == "autoencoder" and sources.run is not None
            else learn_on_the_spot(dataset, sources.kept, seed, device, progress)
        )
    if not found:
        raise TrainingError(f"{notes[0]}; or leave out --by classifier")
    return [found[kind] for kind in ("autoencoder", "classifier") if kind in found], notes


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


def lay_out(vectors: NDArray[np.float32], reduction: Reduction, seed: int) -> Coordinates:
    """Coordinates (clips, 2) of vectors (clips, dim), the same for the same seed."""
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


def _given_run(dataset: Dataset, sources: Sources) -> Kind | None:
    """Which embedding the run gives that the user named, checked; None without one."""
    if sources.run is None:
        return None
    checkpoint = load_checkpoint(sources.run / BEST)
    check_run(dataset, sources.run, checkpoint)
    kind = kind_of(checkpoint)
    if sources.only not in (None, kind):
        raise TrainingError(
            f"{sources.run} is a run of {checkpoint.config.model}: it gives the embedding of --by "
            f"{kind}"
        )
    if kind == "classifier" and sources.model is not None:
        raise TrainingError(
            f"--model and --run ({sources.run}) are both classifiers; a map shows one of them"
        )
    return kind


def _classifier(
    dataset: Dataset, sources: Sources, given: Kind | None, notes: list[str]
) -> Embedding | None:
    """The classifier's embedding: of what was named, else of the shipped model where it fits."""
    if given == "classifier" and sources.run is not None:
        return of_run(dataset, sources.run)
    if sources.model is not None:
        return _told(of_model(dataset, sources.model), dataset, notes)
    if _shipped_fits(dataset):
        notes.append(
            "the classifier is the digit model that ships with Earshot; --model or --run shows "
            "your own"
        )
        return of_model(dataset, SHIPPED_MODEL)
    notes.append(
        "no classifier is shown: the shipped digit model knows other clips or labels; train one "
        f"with `earshot train {dataset.folder} --out RUN` and give it with --run RUN"
    )
    return None


def _told(embedding: Embedding, dataset: Dataset, notes: list[str]) -> Embedding:
    known = embedding.answers.known if embedding.answers else frozenset()
    unknown = [label for label in dataset.labels if label not in known]
    if unknown:
        notes.append(
            f"the model does not know {len(unknown)} of the labels ({', '.join(unknown[:5])}); "
            "it is neither right nor wrong about their clips"
        )
    return embedding


def _shipped_fits(dataset: Dataset) -> bool:
    """Whether the shipped model hears such clips and knows every label of them."""
    classifier = Classifier.open(SHIPPED_MODEL)
    try:
        check_model(dataset, classifier)
    except EarshotError:
        return False
    return set(dataset.labels) <= set(classifier.labels)


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
