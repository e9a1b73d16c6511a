"""How well a map shows labels and wrong labels, on the Free Spoken Digit Dataset.

    uv run python tests/benchmarks/map_quality.py --fsdd ../shared/fsdd

First the share of the ten nearest neighbours that have a clip's label, in each embedding and in its
2-D layouts. Then 3 % of the labels are replaced by others at random, and it is counted how many of
them are among as many, and among twice as many, of the foremost outliers. The classifier is trained
on the replaced labels, as it would be on wrong ones; the shipped model is not, and knows the right
ones. Last, time and peak memory of `earful map` on all clips, in a process of its own.
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
from earful.training.explore.clip_map import lay_out
from earful.training.explore.embeddings import Embedding, of_model, of_run, on_the_spot
from earful.training.explore.neighbours import find_neighbours, find_outliers, purity
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run

WRONG_SHARE = 0.03
SEED = 42


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fsdd", type=Path, default=Path("../shared/fsdd"))
    parser.add_argument("--epochs", type=int, default=15, help="of the classifier (cnn)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labelled = read_labels(arguments.fsdd / "labels_full.csv", arguments.fsdd / "recordings")
        prepare(labelled, folder / "fsdd", split="column")
        dataset = open_dataset(folder / "fsdd")
        wrong, rows = with_wrong_labels(dataset)
        print(f"{len(dataset.clips):,} clips, {len(rows)} with a wrong label\n")
        print("embedding                   dim  purity  tsne    pca     found in top "
              f"{len(rows)}  {2 * len(rows)}")  # fmt: skip
        for title, embedding in embeddings(dataset, wrong, folder, arguments.epochs):
            print(f"{title:26} {table_row(embedding, dataset, wrong, rows)}", flush=True)
        print("\n" + measure_command(folder))


def with_wrong_labels(dataset: Dataset) -> tuple[Dataset, NDArray[np.int64]]:
    """The dataset with 3 % of its labels replaced by others, and which clips these are."""
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
    for title, found in (("log-mel as it is", normalised), ("log-mel levelled", centred)):
        yield title, of_features(dataset, found)
    learnt = on_the_spot(dataset, folder / "autoencoder", SEED, "cpu", TrainingProgress())
    yield "autoencoder, not whitened", replace(learnt, kind="classifier")
    yield "autoencoder", learnt
    config = replace(default_config("cnn"), epochs=epochs, patience=epochs)
    train_run(wrong, folder / "cnn", config, device="cpu")
    yield f"cnn on wrong labels, {epochs} e.", of_run(wrong, folder / "cnn")
    yield "shipped digit model", of_model(dataset, SHIPPED_MODEL)


def normalised(features: torch.Tensor) -> torch.Tensor:
    return features


def of_features(dataset: Dataset, change: Callable[[torch.Tensor], torch.Tensor]) -> Embedding:
    """64 principal components of the features that the autoencoder sees: what it has to beat."""
    features = torch.from_numpy(np.array(dataset.array("log_mel")))
    std, mean = torch.std_mean(features, dim=(0, 2), keepdim=True)
    images = change((features - mean) / std).flatten(1).numpy()
    reduced = PCA(64, svd_solver="full").fit_transform(images).astype(np.float32)
    return Embedding("classifier", "features", reduced)


def table_row(embedding: Embedding, dataset: Dataset, wrong: Dataset, rows: NDArray[np.int64]) -> str:
    near = find_neighbours(embedding.comparable)
    everything = np.arange(len(dataset.clips))
    layouts = [lay_out(embedding, everything, how, SEED) for how in ("tsne", "pca")]
    purities = [purity(near, dataset.targets)]
    purities += [purity(find_neighbours(layout), dataset.targets) for layout in layouts]
    order = np.argsort(
        -find_outliers(near, wrong.targets, len(wrong.labels)).disagreement, kind="stable"
    )
    found = [int(np.isin(order[: n * len(rows)], rows).sum()) for n in (1, 2)]
    shares = "  ".join(f"{100 * value:4.1f} %" for value in purities)
    return f"{embedding.vectors.shape[1]:4}  {shares}  {found[0]:12}  {found[1]:9}"


def measure_command(folder: Path) -> str:
    """Time and peak memory of the command."""
    command = [sys.executable, "-m", "earful.training.cli", "map"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(folder / "fsdd"), "--out", str(folder / "map.html")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"earful map ended with {os.waitstatus_to_exitcode(status)}")
    return (
        f"earful map: {time.perf_counter() - began:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU, peak {used.ru_maxrss / 1024:.0f} MB, page "
        f"{(folder / 'map.html').stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
