"""A prepared dataset on disk: what ``prepare`` writes and training reads.

dataset.json    schema version, labels, FeatureConfig, counts, how it was split, content hash
clips.csv       id, filename, label, speaker, split, seconds, sha256, peak_dbfs, rms_dbfs, start,
                end
waveforms.npy   (clips, samples) float32, or int16 (``prepare --int16``)
mfcc.npy        (clips, n_mfcc, frames) float32
log_mel.npy     (clips, n_mels, frames) float32
labels.csv      the clips as a labels CSV with whole paths; test.csv those of the test part
skipped.csv     line, filename, code, message of clips left out (only with --skip-bad)
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.errors import EarshotError
from data.features import FeatureConfig, FeatureError, FeatureKind
from data.waveforms import as_float

SCHEMA_VERSION = 1
MANIFEST, ALL_ROWS, TEST_ROWS = "dataset.json", "labels.csv", "test.csv"
CLIP_COLUMNS = (
    "id", "filename", "label", "speaker", "split", "seconds", "sha256", "peak_dbfs", "rms_dbfs",
    "start", "end",
)  # fmt: skip


class DatasetError(EarshotError):
    """A dataset folder that is missing or damaged, or clips that cannot become one."""


@dataclass(frozen=True)
class Dataset:
    """An opened dataset; arrays are memory-mapped, read as they are used.

    ``clips`` has a row a clip with the columns of clips.csv; ``targets`` (clips,) are positions in
    ``labels``; ``times`` (clips,) is how often an epoch reads each training clip, None for once.
    """

    folder: Path
    labels: tuple[str, ...]
    features: FeatureConfig
    content_hash: str
    split_mode: str
    clips: pd.DataFrame
    targets: NDArray[np.int64]
    times: NDArray[np.int64] | None = None

    def array(self, name: FeatureKind | str) -> NDArray[Any]:
        """``waveforms``, ``mfcc`` or ``log_mel``: a read-only memory map, clip first.

        Waveforms may be int16: ``waveforms()`` has them as floats.
        """
        try:
            array = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(self.folder, f"{name}.npy cannot be read ({error})") from error
        if len(array) != len(self.clips):
            raise _damaged(self.folder, f"{name}.npy has {len(array)} clips, not {len(self.clips)}")
        return np.asarray(array) if len(array) == 0 else array

    def waveforms(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Waveforms (rows, samples) of some clips, in [-1, 1], however they are stored."""
        return as_float(self.array("waveforms")[rows])

    @property
    def multi_label(self) -> bool:
        """Whether a clip may hold several labels."""
        return False

    @property
    def memberships(self) -> NDArray[np.bool_]:
        """Which labels clips hold: (clips, labels)."""
        return np.eye(len(self.labels), dtype=bool)[self.targets]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of the clips of one split."""
        return np.flatnonzero((self.clips["split"] == split).to_numpy())


def open_dataset(folder: Path) -> Dataset:
    """Open what ``prepare`` wrote.

    Raises:
        DatasetError: no dataset there, one of another schema version, or files that do not agree.
    """
    manifest = _read_manifest(folder)
    try:
        features = FeatureConfig.from_dict(manifest["features"])
        labels = tuple(str(label) for label in manifest["labels"])
        clips = pd.read_csv(
            folder / "clips.csv", dtype={"label": str, "speaker": str, "filename": str},
            keep_default_na=False, na_values={"start": [""], "end": [""]},
        )  # fmt: skip
        position = {label: i for i, label in enumerate(labels)}
        targets = np.array([position[label] for label in clips["label"]], np.int64)
        if tuple(clips.columns) != CLIP_COLUMNS or len(clips) != manifest["counts"]["clips"]:
            raise _damaged(folder, "clips.csv does not agree with dataset.json")
        return Dataset(
            folder, labels, features, str(manifest["content_hash"]), str(manifest["split_mode"]),
            clips, targets,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OSError, FeatureError) as error:
        raise _damaged(folder, str(error)) from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{folder} is no dataset ({MANIFEST} is missing); make one with "
            "`earshot prepare LABELS.csv --out DATASET`"
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{MANIFEST}: {error}") from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{folder} has dataset schema {version!r}, this version reads {SCHEMA_VERSION}; "
            "prepare it again"
        )
    return dict(manifest)


def _damaged(folder: Path, reason: str) -> DatasetError:
    return DatasetError(f"the dataset {folder} is damaged: {reason}; prepare it again")
