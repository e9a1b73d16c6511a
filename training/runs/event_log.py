"""A run for TensorBoard: curves as it goes, and at the end what can be looked at and heard.

``tensorboard --logdir RUN`` shows it. TensorBoard's writer takes seconds to import, so it is loaded
when the first epoch has ended.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.training.trainer.checkpoint import CONFUSION_FILENAME, LAST_CHECKPOINT, EpochRecord, load_checkpoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOG_FOLDER = "tensorboard"
# Of the validation clips, so many can be seen and heard: one a label, and then from the start.
MAX_SAMPLE_CLIPS = 8
_RANGE_DB = 70.0


class EventLog:
    """Hears the epochs of one run. ``folder`` is RUN/tensorboard unless another is given.

    A run that goes on after a stop goes on in the same curves; where it was begun without a log,
    its earlier epochs are written first.
    """

    def __init__(self, run: Path, folder: Path | None = None) -> None:
        self._run, self._folder = run, folder or run / LOG_FOLDER
        self._writer: SummaryWriter | None = None
        self._last_epoch = 0

    def on_epoch(self, record: EpochRecord) -> None:
        """Write an epoch's scalars; what a killed run wrote of it and later ones is dropped."""
        writer = self._writer or self._open(record)
        _write(writer, record)
        writer.flush()
        self._last_epoch = record.epoch

    def finish(self, dataset: Dataset) -> None:
        """Write the confusion matrix of the run's report and some validation clips; close."""
        if self._writer is None:  # it had come to its end before
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
        writer.add_image(f"clips/{name}", spectrogram_image(log_mel), self._last_epoch, dataformats="HWC")
        writer.add_audio(
            f"clips/{name}", np.clip(dataset.waveforms(np.array([row])), -1, 1), self._last_epoch,
            sample_rate=dataset.features.sample_rate_hz,
        )  # fmt: skip


def scalars(record: EpochRecord) -> dict[str, float]:
    """An epoch's figures by TensorBoard's tags; what there is not is left out."""
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
    """Validation clips to show: the first of each label, then the others, eight at most."""
    rows = dataset.rows("val").tolist()
    labels = dataset.clips["label"].tolist()
    firsts = {labels[row]: row for row in reversed(rows)}
    ordered = dict.fromkeys([*sorted(firsts.values()), *rows])
    return list(ordered)[:MAX_SAMPLE_CLIPS]


def spectrogram_image(log_mel: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Decibels (n_mels, frames) as a picture (rows, columns, 3): low bands below, 70 dB deep."""
    share = np.clip((log_mel - log_mel.max()) / _RANGE_DB + 1, 0, 1)
    pixels = mpl.colormaps["magma"](share[::-1], bytes=True)
    # Four times as large: a screen's pixel is smaller than a frame should be.
    enlarged = np.repeat(np.repeat(pixels[..., :3], 4, axis=0), 4, axis=1)
    return np.asarray(enlarged, np.uint8)


def _write(writer: "SummaryWriter", record: EpochRecord) -> None:
    for tag, value in scalars(record).items():
        writer.add_scalar(tag, value, record.epoch)
