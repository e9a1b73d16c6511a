"""Nearest neighbours in an embedding: label purity and outliers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

DEFAULT_NEIGHBOURS = 10
# Ridge of ``whitened``. On spoken digits 1 to 10 give the same purity.
_SHRINKAGE = 4.0

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest other clips of each clip: indices and distances (clips, k), nearest first."""

    indices: Int64Array
    distances: FloatArray

    @property
    def k(self) -> int:
        return int(self.indices.shape[1])


@dataclass(frozen=True)
class Outliers:
    """Outlier scores of each clip; arrays (clips,).

    disagreement  from -1 (all neighbours have its label) to 1 (all have one other label)
    suggested     index of the label with most of the neighbours' votes
    distance      mean distance to the neighbours, relative to the median over clips
    """

    disagreement: FloatArray
    suggested: Int64Array
    distance: FloatArray

    def top(self, count: int) -> list[int]:
        """The top ``count`` clips by disagreement and by distance, interleaved."""
        by_label = [int(i) for i in np.argsort(-self.disagreement, kind="stable")[:count]]
        by_distance = [int(i) for i in np.argsort(-self.distance, kind="stable")[:count]]
        pairs = zip(by_label, by_distance, strict=True)
        return list(dict.fromkeys(i for pair in pairs for i in pair))


def whitened(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """PCA whitening of (clips, dim), with a ridge.

    An autoencoder's embedding varies most with loudness and duration; whitening gives all
    directions equal weight. Small variances are estimated poorly from few clips, so a share of the
    mean variance that shrinks with 1 / clips is added to each. tests/benchmarks/map_quality.py
    measures the effect.
    """
    n_clips, n_directions = vectors.shape
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / n_clips)
    ridge = _SHRINKAGE * variances.mean() * n_directions / n_clips
    if not ridge > 0:  # all vectors are equal
        return np.zeros_like(vectors)
    scaled = centred @ directions / np.sqrt(variances.clip(0) + ridge)
    return np.ascontiguousarray(scaled, np.float32)


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (clips, dim) scaled to length 1, so that distances compare directions only."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return scaled


def find_neighbours(vectors: NDArray[np.floating], k: int = DEFAULT_NEIGHBOURS) -> Neighbours:
    """The nearest neighbours of (clips, dim) by Euclidean distance; at most ``clips - 1``."""
    k = min(k, len(vectors) - 1)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors)
    distances, indices = search.kneighbors()  # without the point itself
    return Neighbours(indices.astype(np.int64), distances.astype(np.float64))


def purity(neighbours: Neighbours, targets: Int64Array) -> float:
    """Mean share of neighbours with the clip's label; ``targets`` is (clips,)."""
    return float((targets[neighbours.indices] == targets[:, None]).mean())


def find_outliers(neighbours: Neighbours, targets: Int64Array, n_labels: int) -> Outliers:
    """Outlier scores by distance-weighted votes of the neighbours' labels, and by distance."""
    votes = label_votes(neighbours, targets, n_labels)
    rows = np.arange(len(targets))
    own_votes = votes[rows, targets].copy()
    votes[rows, targets] = -1.0
    other = votes.argmax(axis=1)
    other_votes = votes[rows, other] if n_labels > 1 else np.zeros(len(targets))
    mean_distance = neighbours.distances.mean(axis=1)
    median_distance = float(np.median(mean_distance))
    has_distances = median_distance > 0
    return Outliers(
        disagreement=other_votes - own_votes,
        suggested=np.where(other_votes > own_votes, other, targets),
        distance=mean_distance / median_distance if has_distances else np.ones_like(mean_distance),
    )


def label_votes(neighbours: Neighbours, targets: Int64Array, n_labels: int) -> FloatArray:
    """Vote shares (clips, labels) of the neighbours' labels for each clip.

    Votes are weighted by inverse distance (Dudani, "The distance-weighted k-nearest-neighbor
    rule", 1976).
    """
    # Weights are capped at k: a copy of the recording, at distance 0, counts as k neighbours.
    farthest, n_neighbours = neighbours.distances[:, -1:], float(neighbours.k)
    is_distant_enough = neighbours.distances * n_neighbours > farthest
    weights = np.full(neighbours.distances.shape, n_neighbours)
    np.divide(farthest, neighbours.distances, out=weights, where=is_distant_enough)
    weights /= weights.sum(axis=1, keepdims=True)
    votes = np.zeros((len(targets), n_labels))
    rows = np.repeat(np.arange(len(targets)), neighbours.k)
    np.add.at(votes, (rows, targets[neighbours.indices].ravel()), weights.ravel())
    return votes
