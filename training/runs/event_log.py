"""TensorBoard log of a run: curves after each epoch; confusion matrix and sample clips at the end.

``tensorboard --logdir RUN`` shows it. TensorBoard's writer takes seconds to import, so it is
imported after the first epoch.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.training.trainer.checkpoint import (
    CONFUSION_FILENAME,
    LAST_CHECKPOINT,
    EpochRecord,
    load_checkpoint,
)

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_FOLDER = "tensorboard"
# Validation clips in the log, as spectrogram and audio.
MAX_SAMPLE_CLIPS = 8
_RANGE_DB = 70.0


class EventLog:
    """Logs the epochs of one run to ``folder`` (default: RUN/tensorboard).

    A resumed run continues the same curves. If it was started without a log, its earlier epochs are
    written first.
    """

    def __init__(self, run: Path, folder: Path | None = None) -> None:
        self._run, self._folder = run, folder or run / LOG_FOLDER
        self._writer: SummaryWriter | None = None
        self._last_epoch = 0

    def on_epoch(self, record: EpochRecord) -> None:
        """Write an epoch's scalars; entries of a killed run from this epoch on are dropped."""
        writer = self._writer or self._open(record)
        _write(writer, record)
        writer.flush()
        self._last_epoch = record.epoch

    def finish(self, dataset: Dataset) -> None:
        """Write the confusion matrix and some validation clips, and close the log."""
        if self._writer is None:  # the run was already complete
            return
        picture = self._run / CONFUSION_FILENAME
        if picture.is_file():
            self._writer.add_image(
                "confusion", imread(picture)[..., :3], self._last_epoch, dataformats="HWC"
            )
        for row in sample_rows(dataset):
            self._add_clip(self._writer, dataset, row)
        self._writer.close()

    def _open(self, record: EpochRecord) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - see above

        threading.excepthook = _print_unless_raised_again
        has_log = any(self._folder.glob("events.out.tfevents.*"))
        self._writer = SummaryWriter(
            str(self._folder), purge_step=record.epoch if has_log else None, flush_secs=30
        )
        last = self._run / LAST_CHECKPOINT
        if not has_log and record.epoch > 1 and last.is_file():
            for earlier in load_checkpoint(last).history:
                if earlier.epoch < record.epoch:
                    _write(self._writer, earlier)
        return self._writer

    def _add_clip(self, writer: "SummaryWriter", dataset: Dataset, row: int) -> None:
        clip = dataset.clips.iloc[row]
        name = f"{clip['label']} ({clip['id']})"
        log_mel = np.asarray(dataset.array("log_mel")[row], np.float32)
        writer.add_image(
            f"clips/{name}", spectrogram_image(log_mel), self._last_epoch, dataformats="HWC"
        )
        waveform = np.clip(dataset.waveforms(np.array([row])), -1, 1)
        rate_hz = dataset.features.sample_rate_hz
        writer.add_audio(f"clips/{name}", waveform, self._last_epoch, sample_rate=rate_hz)


def _print_unless_raised_again(args: threading.ExceptHookArgs) -> None:
    """Print exceptions of threads, but not of TensorBoard's: its next call raises the same one."""
    if type(args.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(args)


def scalars(record: EpochRecord) -> dict[str, float]:
    """Values of an epoch by TensorBoard tag; missing values are left out."""
    values = {
        "loss/training": record.loss,
        "loss/validation": record.val_loss,
        "accuracy/training": record.accuracy,
        "accuracy/validation": record.val_accuracy,
        "learning_rate": record.learning_rate,
        "seconds": record.seconds,
    }
    for layer in record.layers:
        values[f"dead_share/{layer.name}"] = layer.dead_share
        values[f"gradient_rms/{layer.name}"] = layer.gradient_rms
    return {tag: value for tag, value in values.items() if value is not None}


def sample_rows(dataset: Dataset) -> Sequence[int]:
    """Rows of at most eight validation clips: the first of each label, then the others."""
    rows = dataset.rows("val").tolist()
    labels = dataset.clips["label"].tolist()
    firsts = {labels[row]: row for row in reversed(rows)}
    ordered = dict.fromkeys([*sorted(firsts.values()), *rows])
    return list(ordered)[:MAX_SAMPLE_CLIPS]


def spectrogram_image(log_mel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image (rows, columns, 3) uint8 of decibels (n_mels, frames): low bands below, 70 dB."""
    share = np.clip((log_mel - log_mel.max()) / _RANGE_DB + 1, 0, 1)
    pixels = mpl.colormaps["magma"](share[::-1], bytes=True)
    # Four pixels per frame and band, to be visible on a screen. librosa.display.specshow needs a
    # figure for the same picture: 16 ms instead of 0.2.
    enlarged = np.repeat(np.repeat(pixels[..., :3], 4, axis=0), 4, axis=1)
    return np.asarray(enlarged, np.uint8)


def _write(writer: "SummaryWriter", record: EpochRecord) -> None:
    for tag, value in scalars(record).items():
        writer.add_scalar(tag, value, record.epoch)
