"""Storage of a run's checkpoints: its folder, and an optional mirror that outlives the machine.

The mirror is a folder or a URL that fsspec can open (``s3://``, ``gs://``). Each checkpoint is
written to the folder first and then to the mirror, the best before the last, so that the mirror
always has a complete epoch to resume from.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import MANIFEST_FILENAME as DATASET_MANIFEST
from earful.models.registry.storage import Storage, open_storage
from earful.training.config.train_config import TrainingError
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    Checkpoint,
    load_checkpoint,
    read_checkpoint_bytes,
    save_checkpoint,
)


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run."""

    run: Path
    mirror: Storage | None = None

    @classmethod
    def open(cls, run: Path, mirror: str | None) -> "CheckpointStore":
        """The store of a run folder, and of the folder or URL ``mirror``.

        Raises:
            EarfulError: no installed package opens this kind of URL.
        """
        return cls(run, open_storage(mirror) if mirror else None)

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint to the folder, then to the mirror."""
        path = self.run / name
        save_checkpoint(path, checkpoint)
        if self.mirror is not None:
            self.mirror.write(name, path.read_bytes())

    def sync(self, data_hash: str | None = None) -> None:
        """Bring the folder and the mirror to the same epoch, the later one of the two.

        They differ when a process was killed between the two writes. ``data_hash`` is that of the
        training data, where it is known.

        Raises:
            TrainingError: a checkpoint is damaged, or was trained on other data.
        """
        if self.mirror is None:
            return
        local, mirrored = self._load_local(), self._load_mirrored()
        hashes = {checkpoint.dataset_hash for checkpoint in (local, mirrored) if checkpoint}
        if len(hashes | ({data_hash} - {None})) > 1:
            raise TrainingError(
                f"the checkpoints in {self.run} and {self.mirror.root} were not trained on the "
                "same data; give another --out and --checkpoint-mirror, or the same dataset"
            )
        local_epochs, mirrored_epochs = (len(x.history) if x else 0 for x in (local, mirrored))
        if mirrored_epochs > local_epochs:
            self._restore_from_mirror()
        elif local_epochs > mirrored_epochs:
            for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
                self.mirror.write(name, (self.run / name).read_bytes())

    def _load_local(self) -> Checkpoint | None:
        last = self.run / LAST_CHECKPOINT
        return load_checkpoint(last) if last.is_file() else None

    def _load_mirrored(self) -> Checkpoint | None:
        content = self._read_mirror(LAST_CHECKPOINT)
        if self.mirror is None or content is None:
            return None
        return read_checkpoint_bytes(content, f"{self.mirror.root}/{LAST_CHECKPOINT}")

    def _restore_from_mirror(self) -> None:
        for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
            content = self._read_mirror(name)
            if content is not None:
                with staged_file(self.run / name) as staging:
                    staging.write_bytes(content)

    def require_no_run(self) -> None:
        """Check that a new run can be written.

        Raises:
            TrainingError: the folder or the mirror holds a run, or the folder is not writable.
        """
        self._check_writable()
        occupied = None
        if (self.run / LAST_CHECKPOINT).exists():
            occupied = str(self.run)
        elif self.mirror is not None and self._read_mirror(LAST_CHECKPOINT) is not None:
            occupied = self.mirror.root
        if occupied:
            raise TrainingError(
                f"{occupied} holds a run; continue it with --resume, or give another --out"
            )

    def _check_writable(self) -> None:
        if (self.run / DATASET_MANIFEST).is_file():
            raise TrainingError(f"{self.run} is a dataset; give the run another folder as --out")
        candidates = (self.run, *self.run.resolve().parents)
        existing_parent = next(folder for folder in candidates if folder.exists())
        if not existing_parent.is_dir() or not os.access(existing_parent, os.W_OK):
            raise TrainingError(
                f"a run cannot be written to {self.run}: {existing_parent} is not a writable "
                "folder; give another --out"
            )

    def _read_mirror(self, name: str) -> bytes | None:
        try:
            return None if self.mirror is None else self.mirror.read(name)
        except FileNotFoundError:
            return None
