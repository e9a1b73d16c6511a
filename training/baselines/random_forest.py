"""``random-forest``: scikit-learn's ``RandomForestClassifier``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from models.baselines.random_forest import RandomForest, RandomForestConfig
from models.pipeline import NormalisedNetwork
from training.baselines.clips import Clips, embeddings
from training.config import TrainConfig

# Of scikit-learn's arrays of a tree: a leaf has no child.
_NO_CHILD = -1


def fit_random_forest(
    network: RandomForest, model: NormalisedNetwork, clips: Clips, config: TrainConfig
) -> None:
    """Grow the trees, each on clips drawn with repetition and random features at every decision."""
    options = RandomForestConfig(**config.options)
    x = embeddings(model, network, clips).numpy()
    forest = RandomForestClassifier(
        options.trees, max_depth=options.depth, random_state=config.seed, n_jobs=-1
    )
    take(network, forest.fit(x, clips.targets))


@dataclass(frozen=True)
class _Leaf:
    """``turns`` are (node, whether to the left) from the root on; ``share`` (labels,) of labels."""

    turns: tuple[tuple[int, bool], ...]
    share: NDArray[np.float64]


def take(network: RandomForest, fitted: RandomForestClassifier) -> None:
    """The trees of a fitted estimator, side by side."""
    features, thresholds, leaves, n_nodes = [np.zeros(1, int)], [np.zeros(1)], [], 1
    for estimator in fitted.estimators_:
        tree = estimator.tree_
        decides = tree.children_left != _NO_CHILD
        features.append(tree.feature[decides])
        thresholds.append(tree.threshold[decides])
        leaves += list(_leaves(tree, n_nodes + np.cumsum(decides) - 1))
        n_nodes += int(decides.sum())
    share = np.stack([leaf.share for leaf in leaves]) / len(fitted.estimators_)
    network.head.set_fitted(
        feature=torch.from_numpy(np.concatenate(features)),
        threshold=torch.from_numpy(np.concatenate(thresholds)),
        path=torch.from_numpy(_paths(leaves, n_nodes)),
        share=torch.from_numpy(share),
    )


def _leaves(tree: Any, place: NDArray[np.int64]) -> Iterator[_Leaf]:
    """The leaves of one tree; ``place`` (nodes,) is where each decision stands among all trees'."""
    waiting: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(0, ())]
    while waiting:
        node, turns = waiting.pop()
        left, right = tree.children_left[node], tree.children_right[node]
        if left == _NO_CHILD:
            counts = tree.value[node, 0]
            yield _Leaf(turns, counts / counts.sum())
        else:
            waiting.append((left, (*turns, (int(place[node]), True))))
            waiting.append((right, (*turns, (int(place[node]), False))))


def _paths(leaves: list[_Leaf], n_nodes: int) -> NDArray[np.int64]:
    """Positions (depth, leaves) among ``n_nodes`` turns to the left, as many to the right, and the
    one that is always taken."""
    depth = max(1, *(len(leaf.turns) for leaf in leaves))
    paths = np.full((depth, len(leaves)), 2 * n_nodes, np.int64)
    for column, leaf in enumerate(leaves):
        for row, (node, to_left) in enumerate(leaf.turns):
            paths[row, column] = node if to_left else n_nodes + node
    return paths
