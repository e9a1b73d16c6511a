"""Where a run's checkpoints are kept: its folder, and a second place that outlives the machine.

The second is a folder or a URL of whatever fsspec has a package for (``s3://``, ``gs://``). It gets
every checkpoint after the folder has it, the best before the last, so that a machine that takes
over finds an epoch whole.
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
        """With a second place where one is given.

        Raises:
            EarfulError: a URL of a kind that no installed package knows.
        """
        return cls(run, open_storage(mirror) if mirror else None)

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; the one that was there stays until this one is whole."""
        path = self.run / name
        save_checkpoint(path, checkpoint)
        if self.mirror is not None:
            self.mirror.write(name, path.read_bytes())

    def sync(self, data_hash: str | None = None) -> None:
        """Bring the folder and the second place to the same epoch: that of the one further on.

        A process may have been killed between the two. ``data_hash`` is that of the clips to be
        trained on, where they are known already.

        Raises:
            TrainingError: the second place has a run on other clips, or a damaged one.
        """
        last = self._read_mirror(LAST_CHECKPOINT)
        if self.mirror is None or (last is None and not (self.run / LAST_CHECKPOINT).is_file()):
            return
        mirrored = None if last is None else read_checkpoint_bytes(last, f"{self.mirror.root}/{LAST_CHECKPOINT}")
        local = load_checkpoint(self.run / LAST_CHECKPOINT) if (self.run / LAST_CHECKPOINT).is_file() else None
        hashes = {checkpoint.dataset_hash for checkpoint in (local, mirrored) if checkpoint} | {data_hash} - {None}
        if len(hashes) > 1:
            raise TrainingError(
                f"the checkpoints in {self.run} and {self.mirror.root} are not of the same clips; "
                "give other places, or the dataset that they were trained on"
            )
        local_epochs, mirrored_epochs = (len(x.history) if x else 0 for x in (local, mirrored))
        if mirrored_epochs > local_epochs:
            self._restore_from_mirror()
        elif local_epochs > mirrored_epochs:
            for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
                self.mirror.write(name, (self.run / name).read_bytes())

    def _restore_from_mirror(self) -> None:
        for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
            content = self._read_mirror(name)
            if content is not None:
                with staged_file(self.run / name) as staging:
                    staging.write_bytes(content)

    def require_no_run(self) -> None:
        """See that no run is here yet.

        Raises:
            TrainingError: there is one.
        """
        self._check_writable()
        occupied = str(self.run) if (self.run / LAST_CHECKPOINT).exists() else ""
        if not occupied and self.mirror is not None and self._read_mirror(LAST_CHECKPOINT) is not None:
            occupied = self.mirror.root
        if occupied:
            raise TrainingError(f"{occupied} holds a run; go on with --resume, or give another --out")

    def _check_writable(self) -> None:
        if (self.run / DATASET_MANIFEST).is_file():
            raise TrainingError(f"{self.run} is a dataset; give a folder of its own as --out")
        existing_parent = next(place for place in (self.run, *self.run.resolve().parents) if place.exists())
        if not existing_parent.is_dir() or not os.access(existing_parent, os.W_OK):
            raise TrainingError(
                f"a run cannot be written to {self.run}: {existing_parent} is no folder that can be written "
                "to; give another --out"
            )

    def _read_mirror(self, name: str) -> bytes | None:
        try:
            return None if self.mirror is None else self.mirror.read(name)
        except FileNotFoundError:
            return None
