"""Neighbours in an embedding: how pure labels are among them, and which clips do not belong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 10
# On spoken digits neighbours are as pure with 1 to 10; see ``whitened``.
_DOUBT = 4.0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """The nearest other clips of each: positions and distances, (clips, k), nearest first."""

    positions: Integers
    distances: Floats

    @property
    def k(self) -> int:
        return int(self.positions.shape[1])


@dataclass(frozen=True)
class Outliers:
    """How little each clip belongs where it lies; arrays (clips,).

    ``disagreement`` from -1 (all neighbours have its label) to 1 (all have one other label);
    ``suggested`` is the label of most neighbours, as a position; ``distance`` is the mean distance
    to the neighbours over the median of that, so that 1 is usual.
    """

    disagreement: Floats
    suggested: Integers
    distance: Floats

    def foremost(self, count: int) -> list[int]:
        """The clips that neighbours disagree with most, and those farthest from all, in turn."""
        by_label = [int(i) for i in np.argsort(-self.disagreement, kind="stable")[:count]]
        by_distance = [int(i) for i in np.argsort(-self.distance, kind="stable")[:count]]
        pairs = zip(by_label, by_distance, strict=True)
        return list(dict.fromkeys(i for pair in pairs for i in pair))


def whitened(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotated to the principal directions and scaled to variances near 1: (clips, dim).

    The directions in which an autoencoder's embedding varies most are those of loudness and length;
    scaled alike, what a clip holds counts as much. How little a direction varies is known the worse
    the fewer clips there are, so that a share of the mean variance is added to each (as in ridge
    regression) that vanishes with many. (tests/benchmarks/map_quality.py prints what it is worth.)
    """
    n_clips, n_directions = vectors.shape
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / n_clips)
    added = _DOUBT * variances.mean() * n_directions / n_clips
    if not added > 0:  # every clip is the same
        return np.zeros_like(vectors)
    scaled = centred @ directions / np.sqrt(variances.clip(0) + added)
    return np.ascontiguousarray(scaled, np.float32)


def find_neighbours(vectors: NDArray[np.floating], k: int = NEIGHBOURS) -> Neighbours:
    """The ``k`` nearest others of each of (clips, dim), by Euclidean distance; fewer of few."""
    k = min(k, len(vectors) - 1)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(vectors)
    distances, positions = search.kneighbors()  # of each training point, itself left out
    return Neighbours(positions.astype(np.int64), distances.astype(np.float64))


def purity(neighbours: Neighbours, targets: Integers) -> float:
    """The share of neighbours that have the label of the clip, on average."""
    return float((targets[neighbours.positions] == targets[:, None]).mean())


def find_outliers(neighbours: Neighbours, targets: Integers, n_labels: int) -> Outliers:
    """Scores by the labels (clips,) of the neighbours, near ones counting more, and by distance."""
    votes = label_votes(neighbours, targets, n_labels)
    rows = np.arange(len(targets))
    own = votes[rows, targets].copy()
    votes[rows, targets] = -1.0
    other = votes.argmax(axis=1)
    most = votes[rows, other] if n_labels > 1 else np.zeros(len(targets))
    mean = neighbours.distances.mean(axis=1)
    middle = float(np.median(mean))
    return Outliers(
        most - own,
        np.where(most > own, other, targets),
        mean / middle if middle > 0 else np.ones_like(mean),
    )


def label_votes(neighbours: Neighbours, targets: Integers, n_labels: int) -> Floats:
    """The share (clips, labels) of each label among the neighbours of each clip.

    A neighbour counts by its nearness, relative to that of the farthest of them: one of half the
    distance twice. (Dudani, "The distance-weighted k-nearest-neighbor rule", 1976.)
    """
    # Copies of one recording have distance 0: each counts as much as all others together.
    farthest, most = neighbours.distances[:, -1:], float(neighbours.k)
    near = neighbours.distances * most > farthest
    weights = np.full(neighbours.distances.shape, most)
    np.divide(farthest, neighbours.distances, out=weights, where=near)
    weights /= weights.sum(axis=1, keepdims=True)
    votes = np.zeros((len(targets), n_labels))
    rows = np.repeat(np.arange(len(targets)), neighbours.k)
    np.add.at(votes, (rows, targets[neighbours.positions].ravel()), weights.ravel())
    return votes
