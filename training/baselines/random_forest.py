"""``random-forest``: scikit-learn's ``RandomForestClassifier``."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.baselines.random_forest import RandomForest, RandomForestConfig
from earful.training.baselines.pooled_clips import fit_embeddings, label_indices
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.loader import StoredFeatures

# scikit-learn's child index of a leaf.
_NO_CHILD = -1


def fit_random_forest(
    network: RandomForest, model: NormalisedNetwork, clips: StoredFeatures, config: TrainConfig
) -> None:
    """Grow the trees on bootstrap samples, with random features at each split."""
    options = RandomForestConfig(**config.options)
    x = fit_embeddings(model, network, clips).numpy()
    forest = RandomForestClassifier(
        options.trees, max_depth=options.depth, random_state=config.seed, n_jobs=-1
    )
    load_fitted(network, forest.fit(x, label_indices(clips)))


def load_fitted(network: RandomForest, fitted: RandomForestClassifier) -> None:
    """Copy a fitted estimator's trees into the network, level by level (layout: see ``Trees``)."""
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    # A level is a list of splits (tree, node); a root that is a leaf splits into two equal leaves.
    level = [(tree, 0) for tree in trees]
    features, thresholds, shares, split_nodes, splits_per_level = [], [], [], [], []
    while level:
        features += [max(0, tree.feature[node]) for tree, node in level]
        thresholds += [tree.threshold[node] for tree, node in level]
        splits_per_level.append(len(level))
        children = [_child(tree.children_left, tree, node) for tree, node in level]
        children += [_child(tree.children_right, tree, node) for tree, node in level]
        shares += [_share(tree, node) / len(trees) for tree, node in children]
        inner_nodes = [i for i, (tree, node) in enumerate(children) if not _is_leaf(tree, node)]
        split_nodes += inner_nodes
        level = [children[i] for i in inner_nodes]
    network.head.set_fitted_buffers(
        feature=torch.tensor(features),
        threshold=torch.tensor(thresholds),
        leaf_values=torch.from_numpy(np.stack(shares)),
        split_nodes=torch.tensor(split_nodes, dtype=torch.long),
        splits_per_level=torch.tensor(splits_per_level),
    )


def _child(children: NDArray[np.int64], tree: Any, node: int) -> tuple[Any, int]:
    return tree, node if _is_leaf(tree, node) else int(children[node])


def _is_leaf(tree: Any, node: int) -> bool:
    return bool(tree.children_left[node] == _NO_CHILD)


def _share(tree: Any, node: int) -> NDArray[np.float64]:
    """Label frequencies (labels,) in a leaf; zeros in a split."""
    counts: NDArray[np.float64] = tree.value[node, 0]
    return counts / counts.sum() if _is_leaf(tree, node) else np.zeros_like(counts)
