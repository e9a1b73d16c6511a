"""Quality of the map on the Free Spoken Digit Dataset: label purity and label errors found.

    uv run python tests/benchmarks/map_quality.py --fsdd ../shared/fsdd

Purity is the share of the ten nearest neighbours with the clip's label, in each embedding and in
its 2-D projections. Then 3 % of the labels (N clips) are flipped; counted are those among the top N
and top 2 N outliers. The cnn is trained on the flipped labels, the shipped model was trained on the
correct ones. Finally, time and peak memory of ``earful map`` on all clips, in its own process.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from earful.data.dataset.dataset import Dataset, build_label_matrix, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.labels_csv import read_labels
from earful.models.networks.autoencoder import centred
from earful.models.registry.find_model import SHIPPED_MODEL
from earful.training.config.train_config import default_config
from earful.training.explore.clip_map import project_embedding
from earful.training.explore.embeddings import (
    Embedding,
    embed_with_model,
    embed_with_run,
    train_autoencoder,
)
from earful.training.explore.neighbours import find_neighbours, find_outliers, purity
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run

WRONG_SHARE = 0.03
SEED = 42


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fsdd", type=Path, default=Path("../shared/fsdd"))
    parser.add_argument("--epochs", type=int, default=15, help="epochs of the cnn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labelled = read_labels(arguments.fsdd / "labels_full.csv", arguments.fsdd / "recordings")
        prepare(labelled, folder / "fsdd", split="column")
        dataset = open_dataset(folder / "fsdd")
        wrong, rows = with_wrong_labels(dataset)
        print(f"{len(dataset.clips):,} clips, {len(rows)} with a wrong label\n")
        columns = "embedding                   dim  purity  tsne    pca     found in top"
        print(f"{columns} {len(rows)}  {2 * len(rows)}")
        for title, embedding in embeddings(dataset, wrong, folder, arguments.epochs):
            print(f"{title:26} {table_row(embedding, dataset, wrong, rows)}", flush=True)
        print("\n" + measure_command(folder))


def with_wrong_labels(dataset: Dataset) -> tuple[Dataset, NDArray[np.int64]]:
    """The dataset with 3 % of its labels flipped, and the rows of these clips."""
    generator = np.random.default_rng(SEED)
    n_clips, n_labels = len(dataset.clips), len(dataset.labels)
    rows = generator.choice(n_clips, round(WRONG_SHARE * n_clips), replace=False)
    targets = dataset.targets.copy()
    targets[rows] = (targets[rows] + generator.integers(1, n_labels, len(rows))) % n_labels
    labels = [dataset.labels[target] for target in targets]
    digest = hashlib.sha256(targets.tobytes()).hexdigest()
    clips = dataset.clips.assign(label=labels)
    label_matrix = build_label_matrix(labels, dataset.labels)
    return replace(dataset, clips=clips, label_matrix=label_matrix, content_hash=digest), rows


def embeddings(
    dataset: Dataset, wrong: Dataset, folder: Path, epochs: int
) -> Iterator[tuple[str, Embedding]]:
    for title, change in (("log-mel", unchanged), ("log-mel, centred", centred)):
        yield title, of_features(dataset, change)
    embedding = train_autoencoder(dataset, folder / "autoencoder", SEED, "cpu", TrainingProgress())
    yield "autoencoder, not whitened", replace(embedding, kind="classifier")
    yield "autoencoder", embedding
    config = replace(default_config("cnn"), epochs=epochs, patience=epochs)
    train_run(wrong, folder / "cnn", config, device="cpu")
    yield f"cnn on flipped, {epochs} ep.", embed_with_run(wrong, folder / "cnn")
    yield "shipped digit model", embed_with_model(dataset, SHIPPED_MODEL)


def unchanged(features: torch.Tensor) -> torch.Tensor:
    return features


def of_features(dataset: Dataset, change: Callable[[torch.Tensor], torch.Tensor]) -> Embedding:
    """Baseline for the autoencoder: 64 principal components of its input features."""
    features = torch.from_numpy(np.array(dataset.array("log_mel")))
    std, mean = torch.std_mean(features, dim=(0, 2), keepdim=True)
    images = change((features - mean) / std).flatten(1).numpy()
    reduced = PCA(64, svd_solver="full").fit_transform(images).astype(np.float32)
    return Embedding("classifier", "features", reduced)


def table_row(
    embedding: Embedding, dataset: Dataset, wrong: Dataset, rows: NDArray[np.int64]
) -> str:
    near = find_neighbours(embedding.comparable)
    all_rows = np.arange(len(dataset.clips))
    layouts = [
        project_embedding(embedding, all_rows, reduction, SEED) for reduction in ("tsne", "pca")
    ]
    purities = [purity(near, dataset.targets)]
    purities += [purity(find_neighbours(layout), dataset.targets) for layout in layouts]
    order = np.argsort(
        -find_outliers(near, wrong.targets, len(wrong.labels)).disagreement, kind="stable"
    )
    found = [int(np.isin(order[: n * len(rows)], rows).sum()) for n in (1, 2)]
    shares = "  ".join(f"{100 * value:4.1f} %" for value in purities)
    return f"{embedding.vectors.shape[1]:4}  {shares}  {found[0]:12}  {found[1]:9}"


def measure_command(folder: Path) -> str:
    """Time and peak memory of ``earful map``."""
    command = [sys.executable, "-m", "earful.training.cli", "map"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(folder / "fsdd"), "--out", str(folder / "map.html")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"earful map ended with {os.waitstatus_to_exitcode(status)}")
    return (
        f"earful map: {time.perf_counter() - started:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU, peak {used.ru_maxrss / 1024:.0f} MB, page "
        f"{(folder / 'map.html').stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
