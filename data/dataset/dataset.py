"""A prepared dataset on disk, written by ``prepare`` and read by training.

dataset.json    schema version, labels, FeatureConfig, counts, split mode, content hash, and the
                columns of the CSV that were read
clips.csv       id, filename, label, speaker, fold, split, seconds, sha256, peak_dbfs, rms_dbfs,
                start, end
waveforms.npy   (clips, samples) float32, or int16 (``prepare --int16``)
mfcc.npy        (clips, n_mfcc, frames) float32
log_mel.npy     (clips, n_mels, frames) float32
labels.csv      all clips as a labels CSV with absolute paths; test.csv: those of the test part
skipped.csv     line, filename, code, message of skipped clips (only with --skip-bad)
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earful.data.audio.pcm import as_float
from earful.data.errors import EarfulError, command, did_you_mean_path
from earful.data.features.config import FeatureConfig, FeatureError
from earful.data.features.kinds import FeatureKind
from earful.data.labels.multilabel import split_labels
from earful.data.text.json_input import STRICT, check, read_json

SCHEMA_VERSION = 3
MANIFEST_FILENAME = "dataset.json"
ALL_CLIPS_FILENAME = "labels.csv"
TEST_CLIPS_FILENAME = "test.csv"
CLIP_COLUMNS = (
    "id", "filename", "label", "speaker", "fold", "split", "seconds", "sha256", "peak_dbfs",
    "rms_dbfs", "start", "end",
)  # fmt: skip


class DatasetError(EarfulError):
    """A missing or damaged dataset, or clips that cannot be made into one."""


@dataclass(frozen=True)
class _Counts:
    __pydantic_config__ = STRICT | {"extra": "ignore"}

    clips: int


@dataclass(frozen=True)
class _Manifest:
    """What of dataset.json is read."""

    __pydantic_config__ = STRICT | {"extra": "ignore"}

    labels: tuple[str, ...]
    features: dict[str, Any]
    counts: _Counts
    content_hash: str
    split_mode: str


@dataclass(frozen=True)
class Dataset:
    """An opened dataset; arrays are memory-mapped.

    ``clips`` has a row per clip with the columns of clips.csv. ``label_matrix`` (clips, labels) is
    True for the labels of a clip. ``oversample_counts`` (clips,) is how often an epoch reads each
    training clip; None means once. With ``fits_validation`` validation clips are training clips
    too: of a network that was chosen and calibrated on folds of both.
    """

    folder: Path
    labels: tuple[str, ...]
    features: FeatureConfig
    content_hash: str
    split_mode: str
    clips: pd.DataFrame
    label_matrix: NDArray[np.bool_]
    oversample_counts: NDArray[np.int64] | None = None
    fits_validation: bool = False

    @property
    def is_multi_label(self) -> bool:
        """Whether any clip has several labels."""
        return bool((np.count_nonzero(self.label_matrix, axis=1) > 1).any())

    @property
    def targets(self) -> NDArray[np.int64]:
        """The position in ``labels`` of each clip's label (clips,).

        Raises:
            DatasetError: a clip has several labels.
        """
        self.require_single_label("this")
        return np.asarray(self.label_matrix.argmax(axis=1), np.int64)

    def require_single_label(self, what: str) -> None:
        """Check that each clip has one label, as ``what`` needs.

        Raises:
            DatasetError: a clip has several labels.
        """
        multi_label_rows = np.flatnonzero(np.count_nonzero(self.label_matrix, axis=1) > 1)
        if len(multi_label_rows):
            first = self.clips["label"].iloc[int(multi_label_rows[0])]
            raise DatasetError(
                f"{len(multi_label_rows)} clips of {self.folder} have several labels (the first is "
                f"{first!r}), and {what} is for clips with one label each"
            )

    def array(self, name: FeatureKind | str) -> NDArray[Any]:
        """``waveforms``, ``mfcc`` or ``log_mel`` (clips, ...), a read-only memory map.

        Waveforms may be int16; ``waveforms()`` converts them to float32.

        Raises:
            DatasetError: the array is missing or damaged.
        """
        try:
            array = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(self.folder, f"{name}.npy cannot be read ({error})") from error
        if len(array) != len(self.clips):
            raise _damaged(self.folder, f"{name}.npy has {len(array)} clips, not {len(self.clips)}")
        return np.asarray(array) if len(array) == 0 else array

    def waveforms(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Waveforms (rows, samples) float32 in [-1, 1] of some clips, also if stored as int16."""
        return as_float(self.array("waveforms")[rows])

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions (rows,) of the clips of one split."""
        splits = ("train", "val") if split == "train" and self.fits_validation else (split,)
        return np.flatnonzero(self.clips["split"].isin(splits).to_numpy())

    def with_validation_fitted(self) -> "Dataset":
        """The dataset with its validation clips as training clips too."""
        return replace(self, fits_validation=True)

    def split_again(self, splits: Sequence[str], name: str, split_mode: str = "") -> "Dataset":
        """The dataset with other splits of its clips, which become part of its content hash."""
        digest = hashlib.sha256(",".join(splits).encode()).hexdigest()[:12]
        return replace(
            self,
            clips=self.clips.assign(split=list(splits)),
            content_hash=f"{self.content_hash}/{name}:{digest}",
            split_mode=split_mode or self.split_mode,
        )


def open_dataset(folder: Path) -> Dataset:
    """Open a dataset written by ``prepare``.

    Raises:
        DatasetError: no dataset there, another schema version, or inconsistent files.
    """
    values = _read_manifest(folder)
    try:
        manifest = check(_Manifest, values)
        features = FeatureConfig.from_dict(manifest.features)
        clips = pd.read_csv(
            folder / "clips.csv",
            dtype=dict.fromkeys(("label", "speaker", "fold", "filename"), str),
            keep_default_na=False,
            na_values={"start": [""], "end": [""]},
        )
        label_matrix = build_label_matrix(clips["label"].tolist(), manifest.labels)
        if tuple(clips.columns) != CLIP_COLUMNS or len(clips) != manifest.counts.clips:
            raise _damaged(folder, "clips.csv does not match dataset.json")
        return Dataset(
            folder=folder,
            labels=manifest.labels,
            features=features,
            content_hash=manifest.content_hash,
            split_mode=manifest.split_mode,
            clips=clips,
            label_matrix=label_matrix,
        )
    except (KeyError, ValueError, OSError, FeatureError) as error:
        raise _damaged(folder, str(error)) from error


def build_label_matrix(texts: Sequence[str], labels: Sequence[str]) -> NDArray[np.bool_]:
    """A boolean matrix (texts, labels): whether a label text names a label.

    Raises:
        KeyError: a text names an unknown label.
    """
    position = {label: i for i, label in enumerate(labels)}
    code = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    table = np.zeros((len(code), len(labels)), np.bool_)
    for text, row in code.items():
        table[row, [position[label] for label in split_labels(text)]] = True
    matrix: NDArray[np.bool_] = table[[code[text] for text in texts]]
    return matrix


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        values = check(dict[str, Any], read_json((folder / MANIFEST_FILENAME).read_bytes()))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DatasetError(
            f"{folder} is not a dataset{did_you_mean_path(folder)}: {MANIFEST_FILENAME} is "
            "missing; make one with `earful prepare LABELS.csv --out DATASET`"
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{MANIFEST_FILENAME}: {error}") from error
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{folder} has dataset schema {version!r}, this version reads {SCHEMA_VERSION}; "
            f"prepare it again: {_prepare(folder)}"
        )
    return values


def _damaged(folder: Path, reason: str) -> DatasetError:
    return DatasetError(
        f"the dataset {folder} is damaged: {reason}; prepare it again: {_prepare(folder)}"
    )


def _prepare(folder: Path) -> str:
    return command("prepare", "LABELS.csv", "--out", folder, "--replace")
