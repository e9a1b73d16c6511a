"""Where a run's checkpoints are kept: its folder, and a second place that outlives the machine.

The second is a folder or a URL of whatever fsspec has a package for (``s3://``, ``gs://``). It gets
every checkpoint after the folder has it, the best before the last, so that a machine that takes
over finds an epoch whole.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import MANIFEST as DATASET_MANIFEST
from earful.models.registry.storage import Storage, open_storage
from earful.training.config.train_config import TrainingError
from earful.training.trainer.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    load_checkpoint,
    parse_checkpoint,
    save_checkpoint,
)


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run."""

    run: Path
    copy: Storage | None = None

    @classmethod
    def at(cls, run: Path, copy: str | None) -> "CheckpointStore":
        """With a second place where one is given.

        Raises:
            EarfulError: a URL of a kind that no installed package knows.
        """
        return cls(run, open_storage(copy) if copy else None)

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; the one that was there stays until this one is whole."""
        path = self.run / name
        save_checkpoint(path, checkpoint)
        if self.copy is not None:
            self.copy.write(name, path.read_bytes())

    def level(self, data_hash: str | None = None) -> None:
        """Bring the folder and the second place to the same epoch: that of the one further on.

        A process may have been killed between the two. ``data_hash`` is that of the clips to be
        trained on, where they are known already.

        Raises:
            TrainingError: the second place has a run on other clips, or a damaged one.
        """
        last = self._read(LAST)
        if self.copy is None or (last is None and not (self.run / LAST).is_file()):
            return
        there = None if last is None else parse_checkpoint(last, f"{self.copy.root}/{LAST}")
        here = load_checkpoint(self.run / LAST) if (self.run / LAST).is_file() else None
        hashes = {found.dataset_hash for found in (here, there) if found} | {data_hash} - {None}
        if len(hashes) > 1:
            raise TrainingError(
                f"the checkpoints in {self.run} and {self.copy.root} are not of the same clips; "
                "give other places, or the dataset that they were trained on"
            )
        epochs_here, epochs_there = (len(x.history) if x else 0 for x in (here, there))
        if epochs_there > epochs_here:
            self._bring()
        elif epochs_here > epochs_there:
            for name in (BEST, LAST):
                self.copy.write(name, (self.run / name).read_bytes())

    def _bring(self) -> None:
        for name in (BEST, LAST):
            content = self._read(name)
            if content is not None:
                with staged_file(self.run / name) as staging:
                    staging.write_bytes(content)

    def check_new(self) -> None:
        """See that no run is here yet.

        Raises:
            TrainingError: there is one.
        """
        self._check_place()
        taken = str(self.run) if (self.run / LAST).exists() else ""
        if not taken and self.copy is not None and self._read(LAST) is not None:
            taken = self.copy.root
        if taken:
            raise TrainingError(f"{taken} holds a run; go on with --resume, or give another --out")

    def _check_place(self) -> None:
        if (self.run / DATASET_MANIFEST).is_file():
            raise TrainingError(f"{self.run} is a dataset; give a folder of its own as --out")
        above = next(place for place in (self.run, *self.run.resolve().parents) if place.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise TrainingError(
                f"a run cannot be written to {self.run}: {above} is no folder that can be written "
                "to; give another --out"
            )

    def _read(self, name: str) -> bytes | None:
        try:
            return None if self.copy is None else self.copy.read(name)
        except FileNotFoundError:
            return None
