"""Synthetic datasets of any size: a thousand clips of noise, repeated."""

import csv
import json
from pathlib import Path

import numpy as np
import torch

from earful.data.audio.pcm import as_float, as_int16
from earful.data.dataset.dataset import (
    CLIP_COLUMNS,
    MANIFEST_FILENAME,
    SCHEMA_VERSION,
    Dataset,
    open_dataset,
)
from earful.data.features.config import FeatureConfig
from earful.data.features.frontend import Frontend

DISTINCT_CLIPS = 1_024
VALIDATION_CLIPS = 256


def make_dataset(
    folder: Path, features: FeatureConfig, n_clips: int, n_labels: int, *, holes: bool = False
) -> Dataset:
    """Write ``n_clips`` training clips (int16) and 256 validation clips.

    With ``holes``, only the features of validation clips are written; the files are sparse.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    noise = generator.uniform(-0.3, 0.3, (DISTINCT_CLIPS, features.clip_samples)).astype(np.float32)
    waveforms = as_int16(noise)
    with torch.inference_mode():
        frontend = Frontend(features)
        log_mel = frontend.log_mel(torch.from_numpy(as_float(waveforms)))
        mfcc = frontend.mfcc(log_mel).numpy()
    total = n_clips + VALIDATION_CLIPS
    for name, clips in (("waveforms", waveforms), ("log_mel", log_mel.numpy()), ("mfcc", mfcc)):
        array = np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", clips.dtype, (total, *clips.shape[1:])
        )
        skipped = n_clips if holes and name != "waveforms" else 0
        for start in range(skipped, total, DISTINCT_CLIPS):
            array[start : start + DISTINCT_CLIPS] = clips[: total - start]
            if start % (64 * DISTINCT_CLIPS) == 0:
                array.flush()
    with (folder / "clips.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(CLIP_COLUMNS)
        for n in range(total):
            split = "train" if n < n_clips else "val"
            name, speaker, sha256 = f"recordings/{n}.wav", f"speaker{n % 999}", f"{n:064x}"
            rows.writerow([n, name, n % n_labels, speaker, "", split, 1, sha256, 0, 0, "", ""])
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "labels": [str(n) for n in range(n_labels)],
        "features": features.to_dict(),
        "split_mode": "random",
        "counts": {"clips": total},
        "content_hash": f"synthetic {total}",
    }
    (folder / MANIFEST_FILENAME).write_text(json.dumps(manifest))
    return open_dataset(folder)
