"""Quality of the map on spoken digits and keywords: label purity and label errors found.

    uv run python -m tests.benchmarks.map_quality [fsdd] [keywords] --data ../shared
    uv run python -m tests.benchmarks.map_quality --rows encoder autoencoder

Purity is the share of the ten nearest neighbours with the clip's label, in each embedding and in
its 2-D projections. Then 3 % of the labels (N clips) are flipped; counted are those among the top N
and top 2 N outliers. The cnn is trained on the flipped labels, the shipped model was trained on the
correct ones (digits only). Finally, time and peak memory of ``earful map`` on all clips, in its own
process, first with the encoder's vectors to be computed.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from earful.data.dataset.dataset import Dataset, build_label_matrix, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.splits import SplitMode
from earful.models.networks.autoencoder import centred
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.training.config.train_config import default_config
from earful.training.explore.clip_map import project_embedding
from earful.training.explore.embeddings import (
    Embedding,
    EmbeddingKind,
    embed_with_model,
    embed_with_run,
)
from earful.training.explore.neighbours import find_neighbours, find_outliers, purity
from earful.training.explore.unlabelled import embed_with_encoder, train_autoencoder
from earful.training.runs.train_run import train_run

WRONG_SHARE = 0.03
SEED = 42
# Labels CSV, folder of the audio files and split.
DATASETS: dict[str, tuple[str, str | None, SplitMode]] = {
    "fsdd": ("fsdd/labels_full.csv", "fsdd/recordings", "column"),
    "keywords": ("keywords/labels.csv", None, "speaker"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("datasets", nargs="*", metavar="fsdd|keywords", help="default: both")
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--epochs", type=int, default=15, help="epochs of the cnn")
    arguments = parser.parse_args()
    for name in arguments.datasets or DATASETS:
        with tempfile.TemporaryDirectory() as folder:
            report(name, arguments.data, Path(folder), arguments.rows, arguments.epochs)


def report(name: str, data: Path, folder: Path, titles: list[str], epochs: int) -> None:
    csv, audio_dir, split = DATASETS[name]
    labelled = read_labels(data / csv, CsvOptions(data / audio_dir if audio_dir else None))
    prepare(labelled, folder / name, split=split)
    dataset = open_dataset(folder / name)
    wrong, rows = with_wrong_labels(dataset)
    print(f"\n{name}: {len(dataset.clips):,} clips, {len(rows)} with a wrong label\n")
    columns = "embedding                   dim  purity  tsne    pca     found in top"
    print(f"{columns} {len(rows)}  {2 * len(rows)}")
    for title in titles:
        if title == "shipped" and name != "fsdd":
            continue
        embedding = ROWS[title](dataset, wrong, folder, epochs)
        print(f"{title:26} {table_row(embedding, dataset, wrong, rows)}", flush=True)
    for kind in ("encoder", "encoder", "autoencoder"):
        print(measure_command(folder, name, kind), flush=True)


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


def of_encoder(dataset: Dataset, folder: Path) -> Embedding:
    shutil.rmtree(folder / "copy", ignore_errors=True)
    shutil.copytree(dataset.folder, folder / "copy")  # keeps the vectors out of the timed map
    return embed_with_encoder(open_dataset(folder / "copy"), ignore_progress)


def of_autoencoder(dataset: Dataset, folder: Path) -> Embedding:
    return train_autoencoder(dataset, folder / "autoencoder", SEED, "cpu", ignore_progress)


def of_cnn(wrong: Dataset, folder: Path, epochs: int) -> Embedding:
    config = replace(default_config("cnn"), epochs=epochs, patience=epochs)
    train_run(wrong, folder / "cnn", config, device="cpu")
    return embed_with_run(wrong, folder / "cnn")


def plain(embedding: Embedding) -> Embedding:
    """The embedding compared as it is, neither whitened nor scaled."""
    return replace(embedding, kind="classifier")


def ignore_progress(done: int, total: int) -> None:
    """A progress callback that does nothing."""


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


# From the dataset, the same with wrong labels, a folder to write to and epochs of the cnn.
ROWS: dict[str, Callable[[Dataset, Dataset, Path, int], Embedding]] = {
    "log-mel": lambda dataset, wrong, folder, epochs: of_features(dataset, unchanged),
    "log-mel-centred": lambda dataset, wrong, folder, epochs: of_features(dataset, centred),
    "autoencoder-plain": lambda dataset, wrong, folder, epochs: plain(
        of_autoencoder(dataset, folder)
    ),
    "autoencoder": lambda dataset, wrong, folder, epochs: of_autoencoder(dataset, folder),
    "encoder-plain": lambda dataset, wrong, folder, epochs: plain(of_encoder(dataset, folder)),
    "encoder": lambda dataset, wrong, folder, epochs: of_encoder(dataset, folder),
    "cnn": lambda dataset, wrong, folder, epochs: of_cnn(wrong, folder, epochs),
    "shipped": lambda dataset, wrong, folder, epochs: embed_with_model(dataset, SHIPPED_MODEL),
}


def measure_command(folder: Path, name: str, kind: EmbeddingKind) -> str:
    """Time and peak memory of ``earful map`` with one embedding."""
    command = [sys.executable, "-m", "earful.training.cli", "map"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(folder / name), "--out", str(folder / "map.html"), "--embedding", kind],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"earful map ended with {os.waitstatus_to_exitcode(status)}")
    return (
        f"earful map --embedding {kind}: {time.perf_counter() - started:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU, peak {used.ru_maxrss / 1024:.0f} MB, page "
        f"{(folder / 'map.html').stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
